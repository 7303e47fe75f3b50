//! A world of its own for every test, with an application of Contoso's that has what its test says.

use m365_sim::{Options, Simulator};
use serde_json::{Value, json};

pub const EXCHANGE_ADMINISTRATOR: &str = "29232cdf-9323-42fd-ade2-1d097af3e4de";

pub struct World {
    pub sim: Simulator,
    pub http: reqwest::Client,
    pub tenant: String,
    _dir: tempfile::TempDir,
}

/// An application that was registered, with its secret.
#[derive(Clone)]
pub struct App {
    pub app_id: String,
    pub object_id: String,
    pub principal: String,
    secret: String,
}

/// Status and body of an answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
    pub headers: reqwest::header::HeaderMap,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.text))
    }
    /// `value` of a list.
    pub fn rows(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()["value"].as_array().cloned().unwrap_or_default()
    }
    async fn of(response: reqwest::Response) -> Answer {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }
}

impl World {
    pub async fn start() -> World {
        let dir = tempfile::tempdir().unwrap();
        let sim = Simulator::start(Options::demo(dir.path())).await.unwrap();
        let ca = reqwest::Certificate::from_pem(&std::fs::read(&sim.endpoints.ca_file).unwrap()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
        let tenant = sim.endpoints.tenants[0].id.clone();
        World { sim, http, tenant, _dir: dir }
    }

    pub async fn control(&self, path: &str, body: Value) -> Answer {
        let at = format!("{}{path}", self.sim.endpoints.control);
        Answer::of(self.http.post(at).json(&body).send().await.unwrap()).await
    }
    pub async fn control_get(&self, path: &str) -> Answer {
        let at = format!("{}{path}", self.sim.endpoints.control);
        Answer::of(self.http.get(at).send().await.unwrap()).await
    }
    pub async fn switches(&self, change: Value) {
        let at = format!("{}/switches", self.sim.endpoints.control);
        let answer = Answer::of(self.http.patch(at).json(&change).send().await.unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    pub async fn advance(&self, secs: u64) {
        assert_eq!(self.control("/clock/advance", json!({"secs": secs})).await.status, 200);
    }
    /// A cmdlet as an administrator in the portal.
    pub async fn portal(&self, cmdlet: &str, parameters: Value) -> Answer {
        let path = format!("/tenants/{}/exchange", self.tenant);
        self.control(&path, json!({"cmdlet": cmdlet, "parameters": parameters, "by": "second.admin@contoso.example", "client_ip": "203.0.113.9"})).await
    }
    /// Graph as an administrator in the portal.
    pub async fn graph_portal(&self, method: &str, path: &str, body: Value) -> Answer {
        let at = format!("/tenants/{}/graph", self.tenant);
        self.control(&at, json!({"method": method, "path": path, "body": body, "by": "second.admin@contoso.example", "client_ip": "203.0.113.9"})).await
    }
    async fn made(&self, path: &str, body: Value) -> Value {
        let answer = self.graph_portal("POST", path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    /// An application with app roles by name, and Exchange Administrator where `admin`.
    pub async fn app(&self, roles: &[&str], admin: bool) -> App {
        let application = self.made("/applications", json!({"displayName": "Watcher"})).await;
        let app_id = application["appId"].as_str().unwrap().to_owned();
        let object_id = application["id"].as_str().unwrap().to_owned();
        let principal = self.made("/servicePrincipals", json!({"appId": app_id})).await;
        let principal = principal["id"].as_str().unwrap().to_owned();
        let resources = self.graph_portal("GET", "/servicePrincipals?$top=999", Value::Null).await.rows();
        for role in roles {
            let offers = |r: &&Value| r["appRoles"].as_array().into_iter().flatten().any(|a| a["value"] == **role);
            let resource = resources.iter().find(offers).unwrap_or_else(|| panic!("nobody offers {role}"));
            let id = resource["appRoles"].as_array().unwrap().iter().find(|a| a["value"] == **role).unwrap();
            let body = json!({"principalId": principal, "resourceId": resource["id"], "appRoleId": id["id"]});
            self.made(&format!("/servicePrincipals/{principal}/appRoleAssignedTo"), body).await;
        }
        if admin {
            let body =
                json!({"roleDefinitionId": EXCHANGE_ADMINISTRATOR, "principalId": principal, "directoryScopeId": "/"});
            self.made("/roleManagement/directory/roleAssignments", body).await;
        }
        let password = json!({"passwordCredential": {"displayName": "test"}});
        let secret = self.made(&format!("/applications/{object_id}/addPassword"), password).await;
        App { app_id, object_id, principal, secret: secret["secretText"].as_str().unwrap().to_owned() }
    }

    pub async fn token(&self, app: &App, resource: &str) -> String {
        let at = format!("{}/{}/oauth2/v2.0/token", self.sim.endpoints.login, self.tenant);
        let scope = format!("{resource}/.default");
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &app.app_id),
            ("client_secret", &app.secret),
            ("scope", &scope),
        ];
        let answer = Answer::of(self.http.post(at).form(&form).send().await.unwrap()).await;
        answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
    }

    /// A cmdlet over the wire.
    pub async fn exchange(&self, token: &str, cmdlet: &str, parameters: Value) -> Answer {
        let at = format!("{}/adminapi/beta/{}/InvokeCommand", self.sim.endpoints.exchange, self.tenant);
        let body = json!({"CmdletInput": {"CmdletName": cmdlet, "Parameters": parameters}});
        Answer::of(self.http.post(at).bearer_auth(token).json(&body).send().await.unwrap()).await
    }
    pub async fn get(&self, token: &str, url: &str) -> Answer {
        Answer::of(self.http.get(url).bearer_auth(token).send().await.unwrap()).await
    }
    pub async fn graph(&self, token: &str, path: &str) -> Answer {
        self.get(token, &format!("{}/v1.0{path}", self.sim.endpoints.graph)).await
    }
    pub async fn post(&self, token: &str, url: &str, body: Value) -> Answer {
        Answer::of(self.http.post(url).bearer_auth(token).json(&body).send().await.unwrap()).await
    }
    /// Any request to Graph; headers as `name: value`.
    pub async fn ask(&self, token: &str, method: &str, path: &str, body: Value, headers: &[&str]) -> Answer {
        let at = if path.starts_with("https:") {
            path.to_owned()
        } else {
            format!("{}/v1.0{path}", self.sim.endpoints.graph)
        };
        let mut request = self.http.request(method.parse().unwrap(), at).bearer_auth(token);
        for header in headers {
            let (name, value) = header.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        request = match body {
            Value::Null => request,
            Value::String(text) => request.header("content-type", "text/plain").body(text),
            json => request.json(&json),
        };
        Answer::of(request.send().await.unwrap()).await
    }
    /// A message straight into mailboxes, past the transport.
    pub async fn deliver(&self, to: &[&str], raw: &str) {
        let path = format!("/tenants/{}/deliver", self.tenant);
        let answer = self.control(&path, json!({"to": to, "raw": raw})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    /// Somebody does something with a message.
    pub async fn act(&self, act: Value) -> Answer {
        self.control(&format!("/tenants/{}/act", self.tenant), act).await
    }
    /// Everything in a mailbox, as a scenario sees it.
    pub async fn all_mail(&self, address: &str) -> Vec<Value> {
        self.control_get(&format!("/mailbox?address={address}&all")).await.json().as_array().unwrap().clone()
    }
    /// All that mail makes happen at the world's present time has happened.
    pub async fn idle(&self) {
        assert_eq!(self.control("/mail/idle", json!({})).await.json()["idle"], true);
    }
    pub async fn export(&self) -> String {
        let answer = self.control_get(&format!("/tenants/{}/export", self.tenant)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    }
}

/// Ids, times and ports that differ from run to run are written as what they are.
pub fn masked(text: &str) -> String {
    let rules = [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[id]"),
        (r"\b[0-9a-f]{32}\b", "[hex]"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?", "[time]"),
        (r"localhost:\d+", "localhost"),
        (r"\b\d{20}\b", "[number]"),
    ];
    let mut text = text.to_owned();
    for (pattern, instead) in rules {
        text = regex::Regex::new(pattern).unwrap().replace_all(&text, instead).into_owned();
    }
    text
}

pub fn pretty(value: &Value) -> String {
    masked(&serde_json::to_string_pretty(value).unwrap())
}
