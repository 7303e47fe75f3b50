//! Nothing is lost: messages go through the gateway while it is killed, its disk is full for a while, and both of its
//! legs break at every verb. What Exchange Online does, the generator does: what was not taken is sent again until it is.
//! In the end every clean message has arrived, octet by octet, every bad one is held once and nowhere else, and each copy
//! too many is explained by an answer that nobody heard.
//!
//! All that happens is a function of the seed and of a number; with `--one-by-one` nothing else decides, so that a run
//! can be repeated.

use crate::document::{self, Machine};
use crate::load::{Connection, connect};
use crate::systems::{self, Running};
use crate::world::{CONTOSO, GATEWAY_NAME, SENDER_DOMAIN, World};
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tenant::Direction;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;

#[derive(clap::Args)]
pub struct Loss {
    #[arg(long, default_value_t = 100_000)]
    messages: u32,
    /// Of an earlier run, to repeat it.
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long, default_value_t = 24)]
    sessions: usize,
    /// One session, so that the seed alone decides what happens when.
    #[arg(long)]
    one_by_one: bool,
    /// 4,000 messages.
    #[arg(long)]
    quick: bool,
    /// Writes the figures into docs/performance.md.
    #[arg(long)]
    write: bool,
}

/// The gateway may be starting anew; a mail server waits longer.
const AGAIN: Duration = Duration::from_millis(30);
/// Tries of one message after which it counts as never taken.
const TRIES_MAX: u32 = 400;
const ANSWER_PATIENCE: Duration = Duration::from_secs(70);
/// How long a disk stays full.
const FULL_FOR: Duration = Duration::from_millis(250);
/// One message in so many is bad.
const BAD_ONE_IN: u32 = 20;
/// In two halves, so that no scanner takes this program for the file.
const EICAR: [&str; 2] = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];

/// What happens is looked up, not rolled (SplitMix64).
fn dice(seed: u64, what: u64, n: u64) -> u64 {
    let mut z = seed ^ what.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ n.wrapping_mul(0xD1B5_4A32_D192_ED03);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// How one transaction goes wrong, at the generator's end or at the sink's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Trouble {
    None,
    CloseAtMail,
    CloseAtRcpt,
    CloseMidData,
    /// The whole message was there, and its answer is not heard.
    LostReply,
    LateReply,
    RefuseMail,
    RefuseRcpt,
    RefuseData,
}

const NEAR: [Trouble; 4] = [Trouble::CloseAtMail, Trouble::CloseAtRcpt, Trouble::CloseMidData, Trouble::LostReply];
const FAR: [Trouble; 8] = [
    Trouble::CloseAtMail,
    Trouble::CloseAtRcpt,
    Trouble::CloseMidData,
    Trouble::LostReply,
    Trouble::LateReply,
    Trouble::RefuseMail,
    Trouble::RefuseRcpt,
    Trouble::RefuseData,
];

fn trouble(kinds: &[Trouble], roll: u64) -> Trouble {
    if roll % 100 >= 6 { Trouble::None } else { kinds[(roll / 100) as usize % kinds.len()] }
}

/// When the gateway is killed within a transaction, by the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    Never,
    AtMail,
    /// Everything was read and nothing answered.
    BeforeReply,
    AfterReply,
}

struct Run {
    seed: u64,
    world: World,
    binary: PathBuf,
    dir: PathBuf,
    gateway: Mutex<Option<Running>>,
    transactions: AtomicU32,
    kills: AtomicU32,
    full: AtomicU32,
    /// By message.
    tally: Vec<Mutex<Tally>>,
    troubles: Mutex<HashMap<(&'static str, Trouble), u32>>,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    tries: u32,
    /// Tries of which the generator heard no answer although the message may have been there as a whole.
    unanswered: u32,
    /// Copies whose answer the sink kept to itself.
    unsaid: u32,
    copies: u32,
    wrong: Option<String>,
    taken: bool,
}

fn bad(n: u32) -> bool {
    n.is_multiple_of(BAD_ONE_IN)
}

impl Run {
    fn tally<R>(&self, n: u32, change: impl FnOnce(&mut Tally) -> R) -> R {
        change(&mut self.tally[n as usize].lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn happened(&self, leg: &'static str, trouble: Trouble) {
        *self.troubles.lock().unwrap_or_else(PoisonError::into_inner).entry((leg, trouble)).or_default() += 1;
    }

    /// From its From field on; what stands above is Exchange Online's, and its marks are taken off.
    fn content(&self, n: u32) -> Vec<u8> {
        let mut text = format!(
            "From: Pat <pat@{SENDER_DOMAIN}>\r\nTo: anna@{CONTOSO}\r\nSubject: number {n}\r\nMessage-ID: <loss-{n}@{SENDER_DOMAIN}>\r\n\r\n"
        );
        if bad(n) {
            return (text + &EICAR.concat() + "\r\n").into_bytes();
        }
        for line in 0..dice(self.seed, 1, n.into()) % 60 {
            let roll = dice(self.seed, 2, u64::from(n) << 8 | line);
            let lead = ["", ".", "..", " ", "From "][(roll % 5) as usize];
            text += &format!("{lead}{}\r\n", format!("{roll:016x} ").repeat((roll >> 40) as usize % 5));
        }
        text.into_bytes()
    }

    fn wire(&self, n: u32) -> Vec<u8> {
        let tenant = &self.world.tenant;
        let head = format!(
            "X-MS-Exchange-CrossTenant-Id: {}\r\nX-Posthouse-Route: {}\r\n",
            tenant.id,
            tenant.route_token(Direction::Inbound)
        );
        [head.into_bytes(), self.content(n)].concat()
    }

    fn start(&self) -> Result<()> {
        // SIGXFSZ would end the process where a full disk only fails a write
        let under = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""].map(str::to_owned);
        let running = systems::posthouse(&self.world, &self.binary, &self.dir, &under)?;
        *self.gateway.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(())
    }

    fn leader(&self) -> Option<u32> {
        let gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        gateway.as_ref().and_then(|g| g.leaders().first().copied())
    }

    fn address(&self) -> Option<std::net::SocketAddr> {
        self.gateway.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|g| g.address)
    }

    /// SIGKILL, and a new one on the same files.
    fn kill(&self) -> Result<()> {
        let Some(leader) = self.leader() else { return Ok(()) };
        Command::new("kill").args(["-KILL", "--", &format!("-{leader}")]).status().context("kill")?;
        let gone = self.gateway.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(gone);
        self.kills.fetch_add(1, Relaxed);
        self.start()
    }

    /// No file of the gateway grows any more, for a moment: every write fails as on a full disk.
    async fn fill_the_disk(&self) -> Result<()> {
        let Some(leader) = self.leader() else { return Ok(()) };
        let limit =
            |to: &str| Command::new("prlimit").args(["--pid", &leader.to_string(), &format!("--fsize={to}")]).output();
        limit("0:unlimited").context("prlimit of util-linux is needed")?;
        self.full.fetch_add(1, Relaxed);
        tokio::time::sleep(FULL_FOR).await; // how long the disk is full, not a wait
        // it may have been killed meanwhile
        let _ = limit("unlimited:unlimited");
        Ok(())
    }
}

pub fn loss(args: &Loss, dir: &Path, binary: &Path) -> Result<()> {
    let seed =
        args.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ jiff::Timestamp::now().as_microsecond() as u64);
    let messages = if args.quick { 4_000 } else { args.messages };
    let sessions = if args.one_by_one { 1 } else { args.sessions };
    let again = format!(
        "cargo xtask bench loss --messages {messages} --seed {seed}{}",
        if args.one_by_one { " --one-by-one" } else { "" }
    );
    println!("{messages} messages, {sessions} sessions, seed {seed}");
    let done = go(seed, messages, sessions, dir, binary);
    let text = done.with_context(|| format!("to see it again: {again}"))?;
    if args.write {
        document::put("loss", &format!("Measured {}, seed {seed}: {text}", Machine::here()?))
    } else {
        Ok(())
    }
}

fn go(seed: u64, messages: u32, sessions: usize, dir: &Path, binary: &Path) -> Result<String> {
    let mut world = World::start(dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    world.sink.address = listener.local_addr()?;
    let home = dir.join("loss");
    std::fs::create_dir_all(&home)?;
    let run = Arc::new(Run {
        seed,
        world,
        binary: binary.to_owned(),
        dir: home.clone(),
        gateway: Mutex::new(None),
        transactions: AtomicU32::new(0),
        kills: AtomicU32::new(0),
        full: AtomicU32::new(0),
        tally: (0..messages).map(|_| Mutex::default()).collect(),
        troubles: Mutex::default(),
    });
    run.start()?;
    let began = Instant::now();
    runtime.block_on(async {
        tokio::spawn(sink(run.clone(), listener));
        let next = Arc::new(AtomicU32::new(0));
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..sessions {
            all.spawn(generate(run.clone(), next.clone(), messages));
        }
        while let Some(ended) = all.join_next().await {
            ended.context("a session panicked")??;
        }
        anyhow::Ok(())
    })?;
    let took = began.elapsed();
    drop(run.gateway.lock().unwrap_or_else(PoisonError::into_inner).take());
    let held = runtime.block_on(async { store::Store::open(&home.join("data")).await?.held(None).await })?;
    judge(&run, &held, took)
}

/// Each message until it was taken.
async fn generate(run: Arc<Run>, next: Arc<AtomicU32>, messages: u32) -> Result<()> {
    let mut open: Option<Connection<TlsStream<TcpStream>>> = None;
    loop {
        let n = next.fetch_add(1, Relaxed);
        if n >= messages {
            return Ok(());
        }
        if n > 0 && n.is_multiple_of(5_000) {
            println!("{n} messages, {} kills, {} full disks", run.kills.load(Relaxed), run.full.load(Relaxed));
        }
        let (wire, mut last) = (run.wire(n), String::from("nothing"));
        loop {
            // a try that nobody could hear is none
            while run.address().is_none() {
                tokio::time::sleep(AGAIN).await;
            }
            let tries = run.tally(n, |t| {
                t.tries += 1;
                t.tries
            });
            if tries > TRIES_MAX {
                let log = std::fs::read_to_string(run.dir.join("posthouse.log")).unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(10).collect();
                bail!(
                    "message {n} was not taken in {TRIES_MAX} tries, last {last}; the gateway's log ends with:\n{}",
                    end.join("\n")
                );
            }
            let near = trouble(&NEAR, dice(run.seed, 3, u64::from(n) << 12 | u64::from(tries)));
            let tried = tokio::time::timeout(ANSWER_PATIENCE, offer(&run, &mut open, n, &wire, near)).await;
            match tried.unwrap_or_else(|_| bail!("no answer")) {
                Ok(Some((code, _))) if code / 100 == 2 => break,
                Ok(Some((code, words))) if code / 100 == 5 => bail!("message {n} was refused for good: {words}"),
                Ok(Some((_, words))) => last = words,
                Ok(None) => {}
                Err(e) => {
                    (open, last) = (None, format!("{e:#}"));
                }
            }
            tokio::time::sleep(AGAIN).await; // what a queue does between two tries
        }
        run.tally(n, |t| t.taken = true);
    }
}

/// One try: the answer to it, if one was heard.
async fn offer(
    run: &Run,
    open: &mut Option<Connection<TlsStream<TcpStream>>>,
    n: u32,
    wire: &[u8],
    near: Trouble,
) -> Result<Option<(u16, String)>> {
    if open.is_none() {
        let address = run.address().context("no gateway at the moment")?;
        *open = connect(address, GATEWAY_NAME, &run.world.exchange_tls).await?;
    }
    let Some(connection) = open else { return Ok(None) };
    if near != Trouble::None {
        run.happened("to the gateway", near);
    }
    let mail = format!("MAIL FROM:<pat@{SENDER_DOMAIN}> SIZE={}\r\n", wire.len());
    connection.write(mail.as_bytes()).await?;
    if near == Trouble::CloseAtMail {
        *open = None;
        return Ok(None);
    }
    let said = connection.reply().await?;
    if said.0 != 250 {
        return Ok(Some(said));
    }
    connection.write(format!("RCPT TO:<anna@{CONTOSO}>\r\n").as_bytes()).await?;
    if near == Trouble::CloseAtRcpt {
        *open = None;
        return Ok(None);
    }
    let said = connection.reply().await?;
    if said.0 != 250 {
        connection.command(b"RSET\r\n", 250).await?;
        return Ok(Some(said));
    }
    connection.write(format!("BDAT {} LAST\r\n", wire.len()).as_bytes()).await?;
    if near == Trouble::CloseMidData {
        connection.write(&wire[..wire.len() / 2]).await?;
        *open = None;
        return Ok(None);
    }
    // from here on it may be there without our hearing so
    run.tally(n, |t| t.unanswered += 1);
    connection.write(wire).await?;
    if near == Trouble::LostReply {
        *open = None;
        return Ok(None);
    }
    let said = connection.reply().await?;
    run.tally(n, |t| t.unanswered -= 1);
    Ok(Some(said))
}

async fn sink(run: Arc<Run>, listener: TcpListener) {
    let (chain, key) = &run.world.sink_identity;
    let Ok(tls) = smtp::tls::server_config(chain, key) else { return };
    let tls = tokio_rustls::TlsAcceptor::from(tls);
    while let Ok((tcp, _)) = listener.accept().await {
        let (run, tls) = (run.clone(), tls.clone());
        tokio::spawn(async move {
            // a connection that breaks is what this is about
            let _ = serve(&run, tcp, tls).await;
        });
    }
}

async fn serve(run: &Arc<Run>, tcp: TcpStream, tls: tokio_rustls::TlsAcceptor) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut plain = BufReader::new(tcp);
    plain.get_mut().write_all(b"220 mx ESMTP\r\n").await?;
    loop {
        let mut line = String::new();
        if plain.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let starts = line.to_ascii_uppercase().starts_with("STARTTLS");
        let said: &[u8] = if starts { b"220 Ready\r\n" } else { b"250-mx\r\n250 STARTTLS\r\n" };
        plain.get_mut().write_all(said).await?;
        if starts {
            break;
        }
    }
    let mut secure = BufReader::new(tls.accept(plain.into_inner()).await?);
    let chunking = !run.transactions.load(Relaxed).is_multiple_of(5);
    while transaction(run, &mut secure, chunking).await? {}
    Ok(())
}

/// One transaction; false when the connection is to end.
async fn transaction<S>(run: &Arc<Run>, io: &mut BufReader<S>, chunking: bool) -> std::io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut kill = Kill::Never;
    let mut far = Trouble::None;
    loop {
        let mut line = String::new();
        if io.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                let more = if chunking { "250-CHUNKING\r\n" } else { "" };
                let said = format!("250-mx\r\n250-PIPELINING\r\n250-SIZE 157286400\r\n{more}250 8BITMIME\r\n");
                io.get_mut().write_all(said.as_bytes()).await?;
            }
            "MAIL" => {
                let number = run.transactions.fetch_add(1, Relaxed);
                far = trouble(&FAR, dice(run.seed, 4, number.into()));
                kill = match dice(run.seed, 5, number.into()) % 900 {
                    0 => Kill::AtMail,
                    1 => Kill::BeforeReply,
                    2 => Kill::AfterReply,
                    _ => Kill::Never,
                };
                if dice(run.seed, 6, number.into()).is_multiple_of(1_500) {
                    let run = run.clone();
                    tokio::spawn(async move { run.fill_the_disk().await });
                }
                if far != Trouble::None {
                    run.happened("from the gateway", far);
                }
                if kill == Kill::AtMail {
                    killed(run).await;
                    return Ok(false);
                }
                match far {
                    Trouble::CloseAtMail => return Ok(false),
                    Trouble::RefuseMail => {
                        io.get_mut().write_all(b"421 4.3.2 Not now\r\n").await?;
                        return Ok(false);
                    }
                    _ => io.get_mut().write_all(b"250 2.1.0 OK\r\n").await?,
                }
            }
            "RCPT" if far == Trouble::CloseAtRcpt => return Ok(false),
            "RCPT" if far == Trouble::RefuseRcpt => io.get_mut().write_all(b"450 4.2.1 Not now\r\n").await?,
            "BDAT" | "DATA" => {
                let raw = if verb == "DATA" { data(io).await? } else { chunk(io, &line, far).await? };
                let Some(raw) = raw else { return Ok(false) };
                return taken(run, io, &raw, far, kill).await;
            }
            "QUIT" => return Ok(false),
            _ => io.get_mut().write_all(b"250 2.0.0 OK\r\n").await?,
        }
    }
}

async fn chunk<S>(io: &mut BufReader<S>, line: &str, far: Trouble) -> std::io::Result<Option<Vec<u8>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let octets: usize = line.split_whitespace().nth(1).and_then(|w| w.parse().ok()).unwrap_or(0);
    let mut raw = vec![0; if far == Trouble::CloseMidData { octets / 2 } else { octets }];
    io.read_exact(&mut raw).await?;
    Ok((far != Trouble::CloseMidData).then_some(raw))
}

async fn data<S>(io: &mut BufReader<S>) -> std::io::Result<Option<Vec<u8>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    io.get_mut().write_all(b"354 Go on\r\n").await?;
    let mut raw = Vec::new();
    loop {
        let start = raw.len();
        if io.read_until(b'\n', &mut raw).await? == 0 {
            return Ok(None);
        }
        if &raw[start..] == b".\r\n" {
            raw.truncate(start);
            return Ok(Some(raw));
        }
        if raw[start] == b'.' {
            raw.remove(start);
        }
    }
}

/// Counted, compared, and answered or not.
async fn taken<S>(run: &Arc<Run>, io: &mut BufReader<S>, raw: &[u8], far: Trouble, kill: Kill) -> std::io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if far == Trouble::RefuseData {
        io.get_mut().write_all(b"451 4.3.0 Not now\r\n").await?;
        return Ok(true);
    }
    let text = String::from_utf8_lossy(raw);
    let number = text.split("<loss-").nth(1).and_then(|t| t.split('@').next()).and_then(|t| t.parse::<u32>().ok());
    if let Some(n) = number.filter(|n| (*n as usize) < run.tally.len()) {
        let same = raw.ends_with(&run.content(n));
        run.tally(n, |t| {
            t.copies += 1;
            if far == Trouble::LostReply || kill != Kill::Never {
                t.unsaid += 1;
            }
            if !same {
                t.wrong = Some(text.chars().take(600).collect());
            }
        });
    }
    match (kill, far) {
        (Kill::BeforeReply, _) => {
            killed(run).await;
            return Ok(false);
        }
        (_, Trouble::LostReply) => return Ok(false),
        (_, Trouble::LateReply) => tokio::time::sleep(Duration::from_millis(400)).await, // the lateness itself
        _ => {}
    }
    io.get_mut().write_all(b"250 2.6.0 Taken\r\n").await?;
    if kill == Kill::AfterReply {
        killed(run).await;
        return Ok(false);
    }
    Ok(true)
}

async fn killed(run: &Arc<Run>) {
    let run = run.clone();
    let done = tokio::task::spawn_blocking(move || run.kill()).await;
    if let Ok(Err(e)) = done {
        eprintln!("bench: the gateway could not be started again: {e:#}");
    }
}

fn judge(run: &Run, held: &[store::Held], took: Duration) -> Result<String> {
    let mut times_held: HashMap<u32, u32> = HashMap::new();
    for one in held {
        let id = one.hold.message_id.as_deref().unwrap_or_default();
        let number = id.strip_prefix("loss-").and_then(|t| t.split('@').next()).and_then(|t| t.parse().ok());
        *times_held.entry(number.context("something is held that nobody sent")?).or_default() += 1;
    }
    let (mut wrong, mut duplicates, mut resent) = (Vec::new(), 0, 0);
    for n in 0..u32::try_from(run.tally.len())? {
        let t = run.tally(n, |t| t.clone());
        let times = times_held.get(&n).copied().unwrap_or(0);
        resent += t.tries - 1;
        if let Some(what) = &t.wrong {
            wrong.push(format!("message {n} was altered: {what}"));
        }
        if bad(n) {
            if (t.copies, times) != (0, 1) {
                wrong.push(format!("bad message {n}: {} copies arrived, held {times} times; {t:?}", t.copies));
            }
            continue;
        }
        if t.copies == 0 || times > 0 {
            wrong.push(format!("message {n} is lost, or held {times} times: {t:?}"));
        }
        if t.copies > 1 + t.unanswered + t.unsaid {
            wrong.push(format!("message {n} arrived {} times without an explanation: {t:?}", t.copies));
        }
        duplicates += t.copies.saturating_sub(1);
    }
    let sent = run.tally.len();
    let text = format!(
        "{sent} messages in {:.0} s: {} kills, {} full disks, {resent} tries again, {} held, {duplicates} duplicates, each explained by an answer that was not heard; nothing lost, nothing altered.",
        took.as_secs_f64(),
        run.kills.load(Relaxed),
        run.full.load(Relaxed),
        held.len()
    );
    let troubles = run.troubles.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all: Vec<String> = troubles.iter().map(|((leg, t), n)| format!("{leg}: {t:?} {n} times")).collect();
    all.sort();
    all.iter().for_each(|line| println!("  {line}"));
    if wrong.is_empty() {
        println!("{text}");
        return Ok(text);
    }
    wrong.truncate(10);
    bail!("{}", wrong.join("\n"));
}
