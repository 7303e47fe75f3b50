//! The world for tests: `posthouse sim` and `posthouse serve` as real processes, told about each other
//! through public doors only.

use crate::door::Door;
use engines::started::free_port;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ZONE: &str = "connect.posthouse.example";
pub const HOSTNAME: &str = "gw.posthouse.example";

/// A process that is killed when the test ends, however it ends.
pub struct Process(Child);

impl Process {
    /// What the benchmark of the directory asks the kernel about.
    #[allow(dead_code)]
    pub fn id(&self) -> u32 {
        self.0.id()
    }
    /// `TERM`, `HUP` …
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
    /// Its exit code, once it has ended.
    pub async fn exit_code(&mut self) -> Option<i32> {
        let mut code = None;
        until("the end of the process", async || {
            code = self.0.try_wait().unwrap();
            code.is_some()
        })
        .await;
        code.and_then(|c| c.code())
    }
    /// SIGKILL, as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub struct World {
    _dir: tempfile::TempDir,
    pub config: PathBuf,
    pub endpoints: Value,
    pub door: Door,
    pub gateway: Process,
    pub gateway_port: u16,
    _simulator: Process,
}

pub fn posthouse() -> Command {
    Command::new(env!("CARGO_BIN_EXE_posthouse"))
}

/// Waits for `what` to say yes; panics with `name` after a minute.
pub async fn until<F: AsyncFnMut() -> bool>(name: &str, mut what: F) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !what().await {
        assert!(Instant::now() < deadline, "{name} did not happen within a minute");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn ready(file: &Path) -> Value {
    until(&format!("{}", file.display()), async || file.exists()).await;
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

impl World {
    pub async fn start() -> World {
        let dir = tempfile::tempdir().unwrap();
        let ready_file = dir.path().join("sim.json");
        let simulator = posthouse()
            .args(["sim", "--two-tenants", "--dir"])
            .arg(dir.path())
            .arg("--ready-file")
            .arg(&ready_file)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let simulator = Process(simulator);
        let endpoints = ready(&ready_file).await;
        let door = Door::new(endpoints["control"].as_str().unwrap());
        let authority = door.post("/pki/issuing-ca", json!({})).await.unwrap();
        std::fs::write(dir.path().join("authority.pem"), authority["chain_pem"].as_str().unwrap()).unwrap();
        std::fs::write(dir.path().join("authority.key"), authority["key_pem"].as_str().unwrap()).unwrap();
        let config = dir.path().join("posthouse.toml");
        let (gateway_port, dns_port) = (free_port(), free_port());
        std::fs::write(&config, configuration(dir.path(), &endpoints, gateway_port, dns_port)).unwrap();
        door.post("/dns/forward", json!({"zone": ZONE, "server": format!("127.0.0.1:{dns_port}")})).await.unwrap();
        door.post("/dns/record", json!({"name": HOSTNAME, "type": "A", "values": ["127.0.0.1"]})).await.unwrap();
        door.post("/smtp-ports", json!({"host": HOSTNAME, "port": gateway_port})).await.unwrap();
        let gateway = serve(&config).await;
        World { _dir: dir, config, endpoints, door, gateway, gateway_port, _simulator: simulator }
    }

    /// A world with Contoso connected.
    pub async fn connected() -> World {
        let world = World::start().await;
        let (ok, events) = world.connect(0).await;
        assert!(ok, "connect failed:\n{}", events.join("\n"));
        world
    }

    /// `posthouse tenant connect`, with this test as the administrator at the sign-in page.
    pub async fn connect(&self, tenant: usize) -> (bool, Vec<String>) {
        let admin = &self.endpoints["tenants"][tenant]["admin"];
        self.connect_as(admin["user"].as_str().unwrap(), admin["password"].as_str().unwrap()).await
    }

    pub async fn connect_as(&self, user: &str, password: &str) -> (bool, Vec<String>) {
        self.connect_until(user, password, usize::MAX).await
    }

    /// The same, but killed (SIGKILL) after so many events.
    pub async fn connect_until(&self, user: &str, password: &str, events_max: usize) -> (bool, Vec<String>) {
        let mut child = self
            .command(&["--json", "tenant", "connect", "--yes"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut errors = child.stderr.take().unwrap();
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel::<String>();
        let reader = std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut events = Vec::new();
        while let Some(line) = receive.recv().await {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(code) = find(&event, "user_code") {
                self.approve(&code, user, password).await;
            }
            events.push(line);
            if events.len() >= events_max {
                child.kill().unwrap();
            }
        }
        reader.join().unwrap();
        let mut said = String::new();
        let _ = std::io::Read::read_to_string(&mut errors, &mut said);
        events.push(said);
        (child.wait().unwrap().success(), events)
    }

    pub async fn approve(&self, code: &str, user: &str, password: &str) {
        let browser = self.browser();
        let login = self.endpoints["login"].as_str().unwrap();
        let form = [("user_code", code), ("username", user), ("password", password)];
        let _ = browser.post(format!("{login}/common/oauth2/deviceauth")).form(&form).send().await.unwrap();
    }

    /// An HTTP client that trusts the simulated world and follows no redirect.
    pub fn browser(&self) -> reqwest::Client {
        let pem = std::fs::read(self.endpoints["ca_file"].as_str().unwrap()).unwrap();
        let roots = reqwest::Certificate::from_pem_bundle(&pem).unwrap();
        reqwest::Client::builder().tls_certs_only(roots).redirect(reqwest::redirect::Policy::none()).build().unwrap()
    }

    /// Copies of what crossed the wire so far are dropped.
    pub async fn forget_wire(&self) {
        let url = format!("{}/wire", self.endpoints["control"].as_str().unwrap());
        reqwest::Client::new().delete(url).send().await.unwrap();
    }

    /// Faults that were not struck yet are taken back.
    pub async fn clear_faults(&self) {
        let url = format!("{}/faults", self.endpoints["control"].as_str().unwrap());
        reqwest::Client::new().delete(url).send().await.unwrap();
    }

    /// What the first tenant shows of ours, by cmdlet.
    pub async fn exchange(&self, cmdlet: &str, parameters: Value) -> Value {
        let tenant = self.tenant_id(0);
        self.door
            .post(&format!("/tenants/{tenant}/exchange"), json!({"cmdlet": cmdlet, "parameters": parameters}))
            .await
            .unwrap()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = posthouse();
        command.arg("--config").arg(&self.config).args(args);
        command
    }

    /// A subcommand's `--json`.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.command(&[&["--json"], args].concat()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// `posthouse watchdog`, as another unit of the same machine.
    pub fn watchdog(&self) -> Process {
        Process(self.command(&["watchdog"]).env("POSTHOUSE_LOG", "error").spawn().unwrap())
    }

    pub async fn restart_gateway(&mut self) {
        self.gateway.kill();
        self.gateway = serve(&self.config).await;
    }

    /// With something that a shell sets up for the process before.
    pub async fn restart_gateway_within(&mut self, shell: &str) {
        self.gateway.kill();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{shell}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_posthouse")]);
        command.args(serve_command(&self.config).get_args()).env("POSTHOUSE_LOG", "error");
        self.gateway = begun(command, &self.config).await;
    }

    /// The gateway again, as its configuration says, with what it tells in a file.
    #[allow(dead_code)]
    pub async fn restart_gateway_telling(&mut self, log: &Path) {
        self.gateway.kill();
        let log = std::fs::File::create(log).unwrap();
        let mut command = serve_command(&self.config);
        command.env_remove("POSTHOUSE_LOG").stderr(log);
        self.gateway = begun(command, &self.config).await;
    }

    /// A page of the gateway for machines: its status and text.
    #[allow(dead_code)]
    pub async fn page(&self, path: &str) -> (u16, String) {
        let ready: Value =
            serde_json::from_slice(&std::fs::read(self.config.with_file_name("gateway.json")).unwrap()).unwrap();
        let answer = reqwest::get(format!("http://{}{path}", ready["status"].as_str().unwrap())).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub fn tenant_id(&self, n: usize) -> String {
        self.endpoints["tenants"][n]["id"].as_str().unwrap().to_owned()
    }
}

fn serve_command(config: &Path) -> Command {
    let mut command = posthouse();
    command.arg("--config").arg(config).args(["serve", "--ready-file"]).arg(config.with_file_name("gateway.json"));
    command.env("POSTHOUSE_LOG", "error");
    command
}

async fn begun(mut command: Command, config: &Path) -> Process {
    let ready_file = config.with_file_name("gateway.json");
    let _ = std::fs::remove_file(&ready_file);
    let process = Process(command.spawn().unwrap());
    ready(&ready_file).await;
    process
}

async fn serve(config: &Path) -> Process {
    begun(serve_command(config), config).await
}

fn find(event: &Value, key: &str) -> Option<String> {
    match event {
        Value::Object(map) => {
            map.get(key).and_then(Value::as_str).map(str::to_owned).or_else(|| map.values().find_map(|v| find(v, key)))
        }
        _ => None,
    }
}

fn configuration(dir: &Path, endpoints: &Value, gateway_port: u16, dns_port: u16) -> String {
    let at = |key: &str| endpoints[key].as_str().unwrap().to_owned();
    let return_port = at("smtp_mx").rsplit(':').next().unwrap().to_owned();
    let (dir, ca) = (dir.display(), at("ca_file"));
    format!(
        "data_dir = \"{dir}/data\"\n[gateway]\nlisten = \"127.0.0.1:{gateway_port}\"\nhostname = \"{HOSTNAME}\"\nmicrosoft_ranges = [\"127.0.40.0/24\"]\negress_address = \"127.0.50.1\"\nreturn_port = {return_port}\n[zone]\nname = \"{ZONE}\"\nlisten = \"127.0.0.1:{dns_port}\"\n[certificates]\nauthority_chain = \"{dir}/authority.pem\"\nauthority_key = \"{dir}/authority.key\"\ntrusted_roots = \"{ca}\"\n[dns]\nresolver = \"{}\"\n[microsoft]\nlogin = \"{}\"\ngraph = \"{}\"\nexchange = \"{}\"\nactivity = \"{}\"\nroots = \"{ca}\"\n[status]\nlisten = \"127.0.0.1:0\"\n[watch]\nevery_secs = 3600\n",
        at("dns"),
        at("login"),
        at("graph"),
        at("exchange"),
        at("activity")
    )
}

impl World {
    /// Addresses of user mailboxes of the first tenant, the administrator's first.
    pub async fn json_directory_addresses(&self) -> Vec<String> {
        let tenant = self.tenant_id(0);
        let list = self
            .door
            .post(
                &format!("/tenants/{tenant}/exchange"),
                json!({"cmdlet": "Get-Mailbox", "parameters": {"ResultSize": "Unlimited"}}),
            )
            .await
            .unwrap();
        let rows = list.as_array().or_else(|| list["value"].as_array()).cloned().unwrap_or_default();
        rows.iter()
            .filter(|m| m["RecipientTypeDetails"] == "UserMailbox")
            .map(|m| m["PrimarySmtpAddress"].as_str().unwrap().to_lowercase())
            .collect()
    }
}
