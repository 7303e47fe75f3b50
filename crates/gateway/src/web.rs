//! The pages that people see, under `[web]`: one small HTTP listener, each page in a module of its own. TLS is the
//! business of a proxy in front (docs/links.md).
//!
//! Trusts nobody: connections, requests and their sizes are bounded, no page needs a script, none may be framed, none is
//! kept by a cache, and none tells the next site from where one came.

use crate::house::House;
use crate::links::limits::{WEB_BODY_OCTETS_MAX, WEB_CONNECTIONS_MAX, WEB_PATIENCE, WEB_REQUESTS_PER_SECOND};
use crate::links::{self, PublicUrl};
use crate::serve::{GatewayError, Running};
use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

#[derive(Clone, Debug)]
pub struct WebSettings {
    pub listen: SocketAddr,
    /// As the world reaches it.
    pub public_url: PublicUrl,
}

impl Running {
    /// Serves the pages beside the mail, if there are to be any; `others` are those of other crates.
    pub async fn serve_web(&mut self, others: Router) -> Result<Option<SocketAddr>, GatewayError> {
        let Some(web) = self.house.settings.web.clone() else { return Ok(None) };
        let wrong = |source| GatewayError::ListenWeb { address: web.listen, source };
        let tcp = TcpListener::bind(web.listen).await.map_err(wrong)?;
        let address = tcp.local_addr().map_err(wrong)?;
        let door = Door { tcp, room: Arc::new(Semaphore::new(WEB_CONNECTIONS_MAX)) };
        let pages = pages(&self.house, &web.public_url, others);
        self.beside(tokio::spawn(async move {
            if let Err(e) = axum::serve(door, pages).await {
                tracing::error!(error = %e, "the web pages ended");
            }
        }));
        self.beside(tokio::spawn(links::click::write_clicks(self.house.clone())));
        Ok(Some(address))
    }
}

/// Every page; also below the path of the public URL, for a proxy that leaves it on.
fn pages(house: &Arc<House>, public: &PublicUrl, others: Router) -> Router {
    let all = Router::new().merge(links::click::routes(house.clone())).merge(others);
    let below = public.path();
    let all = if below.is_empty() { all } else { all.clone().nest(below, all) };
    all.fallback(|| async { page(StatusCode::NOT_FOUND, "Nothing is here", "<h1>Nothing is here</h1>") })
        .layer(DefaultBodyLimit::max(WEB_BODY_OCTETS_MAX))
        .layer(middleware::from_fn_with_state(Arc::new(Rate::default()), bounded))
        .layer(middleware::map_response(guarded))
}

const STYLE: &str = "body{color-scheme:light dark;background:Canvas;color:CanvasText;max-width:42rem;margin:3rem auto;padding:0 1rem;\
font:1.05rem/1.5 system-ui,sans-serif}.host{font-size:1.4rem;font-weight:bold;overflow-wrap:anywhere}\
.url{font-family:monospace;overflow-wrap:anywhere}button{font:inherit;padding:.5rem 1rem}";

/// A whole page around a body.
pub(crate) fn page(code: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\
         <body><main>{body}</main></body></html>\n"
    );
    (code, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
}

/// No source but our one style. A form may lead on to any site: browsers hold redirects against `form-action` too.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self' https: http:; base-uri 'none'; frame-ancestors 'none'"
    )
});

async fn guarded(mut response: Response) -> Response {
    let all: [(HeaderName, &str); 6] = [
        (header::CONTENT_SECURITY_POLICY, &POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    ];
    for (name, value) in all {
        if let Ok(value) = HeaderValue::from_str(value) {
            // a page may have a policy of its own
            response.headers_mut().entry(name).or_insert(value);
        }
    }
    response
}

/// Requests of the present second.
#[derive(Default)]
struct Rate(Mutex<Option<(Instant, u32)>>);

impl Rate {
    fn takes_one(&self, now: Instant) -> bool {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, n) = second.filter(|(began, _)| now.duration_since(*began).as_secs() == 0).unwrap_or((now, 0));
        *second = Some((began, n.saturating_add(1)));
        n < WEB_REQUESTS_PER_SECOND
    }
}

async fn bounded(State(rate): State<Arc<Rate>>, request: Request, next: Next) -> Response {
    if rate.takes_one(Instant::now()) {
        return next.run(request).await;
    }
    let body = "<h1>Too many at once</h1><p>Please try again in a few seconds.</p>";
    let mut response = page(StatusCode::TOO_MANY_REQUESTS, "Too many at once", body);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// Takes connections as long as there is room for them.
struct Door {
    tcp: TcpListener,
    room: Arc<Semaphore>,
}

impl axum::serve::Listener for Door {
    type Io = Visit;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visit, SocketAddr) {
        let room = loop {
            if let Ok(room) = self.room.clone().acquire_owned().await {
                break room;
            }
        };
        let (tcp, address) = axum::serve::Listener::accept(&mut self.tcp).await;
        (Visit { tcp, patience: Box::pin(sleep(WEB_PATIENCE)), _room: room }, address)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// A connection that ends when its next request takes too long, however slowly it drips.
struct Visit {
    tcp: TcpStream,
    patience: Pin<Box<Sleep>>,
    _room: OwnedSemaphorePermit,
}

impl AsyncRead for Visit {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.tcp).poll_read(cx, into)
    }
}

impl AsyncWrite for Visit {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, octets);
        if matches!(written, Poll::Ready(Ok(_))) {
            self.patience = Box::pin(sleep(WEB_PATIENCE));
        }
        written
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
