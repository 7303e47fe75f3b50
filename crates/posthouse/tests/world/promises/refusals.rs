//! Bad input: clear words that say what to do next, and a tenant that was not touched.

use super::*;

/// Both tenants' configuration and every change of them.
async fn state(world: &World) -> (String, Vec<Value>) {
    let both = export(world, 0).await + &export(world, 1).await;
    (both, [audit(world, 0).await, audit(world, 1).await].concat())
}

async fn untouched(world: &World, before: &(String, Vec<Value>)) {
    let now = state(world).await;
    assert_same(&before.0, &now.0);
    assert_eq!(before.1, now.1, "something was done");
    assert_eq!(world.json(&["tenant", "list"]), json!([]));
}

fn says(said: &str, all: &[&str]) {
    for words in all {
        assert!(said.contains(words), "“{words}” is not said: {said}");
    }
}

async fn later(world: &World, secs: u64) {
    world.door.post("/clock/advance", json!({"secs": secs})).await.unwrap();
}

/// What the command says first, nobody having answered it.
async fn asked(run: &mut Run) -> Value {
    serde_json::from_str(&run.lines.recv().await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn device_codes_that_are_not_answered_rightly() {
    let world = World::start().await;
    let before = state(&world).await;
    let user = &world.endpoints["tenants"][0]["user"];
    let (ok, lines) = world.connect_as(user["user"].as_str().unwrap(), user["password"].as_str().unwrap()).await;
    assert!(!ok);
    says(&lines.join("\n"), &["Global Administrator", "nothing was touched"]);
    untouched(&world, &before).await;

    // Contoso's administrator has no account at Tailspin, by whatever name it is asked for
    for tenant in ["tailspin.example".to_owned(), world.tenant_id(1)] {
        let mut run = Run::start(&world, &[CONNECT, &[&tenant]].concat(), "");
        run.next(&world).await;
        later(&world, 1000).await;
        let (ok, said) = run.end(&world).await;
        assert!(!ok);
        says(&said, &[&format!("with an account of {tenant}"), "nothing was touched", "run the command again"]);
    }
    let (ok, said) = run(&world, &[CONNECT, &["nobody.example"]].concat()).await;
    assert!(!ok && said.contains("nobody.example"), "{said}");

    let mut run = Run::start(&world, CONNECT, "");
    let code = asked(&mut run).await["user_code"].as_str().unwrap().to_owned();
    let login = world.endpoints["login"].as_str().unwrap();
    let form = [("user_code", code.as_str()), ("deny", "yes")];
    world.browser().post(format!("{login}/common/oauth2/deviceauth")).form(&form).send().await.unwrap();
    let (ok, said) = run.end(&world).await;
    assert!(!ok);
    says(&said, &["declined", "nothing was touched", "run the command again"]);

    let mut run = Run::start(&world, CONNECT, "");
    asked(&mut run).await;
    later(&world, 1000).await;
    let (ok, said) = run.end(&world).await;
    assert!(!ok);
    says(&said, &["expired", "run the command again for a new one"]);
    untouched(&world, &before).await;
}

/// A command that waits for a browser: the page to open, where it leads back to, and by which word.
struct Waiting {
    run: Run,
    page: String,
    back: String,
    state: String,
}

async fn waiting(world: &World, answers: &str) -> Waiting {
    let mut run = Run::start(world, &["tenant", "connect", "--browser"], answers);
    let page = asked(&mut run).await["text"].as_str().unwrap().strip_prefix("open ").unwrap().to_owned();
    let query = |key: &str| {
        let url = reqwest::Url::parse(&page).unwrap();
        url.query_pairs().find(|(k, _)| k == key).unwrap().1.into_owned()
    };
    let (back, state) = (query("redirect_uri"), query("state"));
    Waiting { run, page, back, state }
}

/// The administrator signs in; gives where she is sent back to.
async fn signed_in(world: &World, page: &str, more: (&str, &str)) -> reqwest::Url {
    let admin = &world.endpoints["tenants"][0]["admin"];
    let form = [("username", admin["user"].as_str().unwrap()), ("password", admin["password"].as_str().unwrap()), more];
    let answer = world.browser().post(page).form(&form).send().await.unwrap();
    reqwest::Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap()
}

async fn open(url: &str) -> String {
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

fn code_of(url: &reqwest::Url) -> String {
    url.query_pairs().find(|(key, _)| key == "code").unwrap().1.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_that_are_not_the_answer_to_our_question() {
    let world = World::start().await;
    // what she accepts on Microsoft's page before the sign-in fails, nobody but she can take back
    sign_in_for(&world, &["DelegatedPermissionGrant.ReadWrite.All"]).await;
    let before = state(&world).await;

    // an answer with another state is no answer, and the page says so; then she declines, with a code beside it
    let Waiting { run, back, state: word, page } = waiting(&world, "").await;
    let page_says = open(&format!("{back}/?code=stolen&state=forged")).await;
    says(&page_says, &["belongs to another sign-in"]);
    let denied = signed_in(&world, &page, ("deny", "yes")).await;
    assert!(denied.as_str().contains("access_denied") && denied.as_str().contains(&word), "{denied}");
    let page_says = open(&format!("{denied}&admin_consent=True&code=x")).await;
    says(&page_says, &["not completed"]);
    let (ok, said) = run.end(&world).await;
    assert!(!ok);
    says(&said, &["declined", "nothing was touched", "Global Administrator"]);

    // the code of another session
    let (one, other) = (waiting(&world, "").await, waiting(&world, "").await);
    let code = code_of(&signed_in(&world, &other.page, ("accept", "yes")).await);
    open(&format!("{}/?code={code}&state={}", one.back, one.state)).await;
    let (ok, said) = one.run.end(&world).await;
    assert!(!ok);
    says(&said, &["AADSTS", "nothing was touched", "sign in anew"]);
    other.run.kill();

    // a code that lay about for too long
    let slow = waiting(&world, "").await;
    let answer = signed_in(&world, &slow.page, ("accept", "yes")).await;
    later(&world, 700).await;
    open(answer.as_str()).await;
    let (ok, said) = slow.run.end(&world).await;
    assert!(!ok);
    says(&said, &["AADSTS", "nothing was touched", "sign in anew"]);
    untouched(&world, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_to_permissions_or_plan_is_a_no() {
    let world = World::start().await;
    sign_in_before(&world).await;
    let before = export(&world, 0).await;
    let used = waiting(&world, "n\n").await;
    let answer = signed_in(&world, &used.page, ("accept", "yes")).await;
    open(answer.as_str()).await;
    let (ok, said) = used.run.end(&world).await;
    assert!(!ok);
    says(&said, &["permissions were not granted", "“Posthouse Mail Flow” exists", "again", "App registrations"]);
    let now: Value = serde_json::from_str(&export(&world, 0).await).unwrap();
    let then: Value = serde_json::from_str(&before).unwrap();
    assert_eq!(now["exchange"], then["exchange"]);
    assert_eq!(now["entra"]["appRoleAssignments"], then["entra"]["appRoleAssignments"]);
    assert_eq!(list(&now["entra"]["applications"]).len(), 1);

    // the same code once more, in the next run
    let next = waiting(&world, "y\nn\n").await;
    open(&format!("{}/?code={}&state={}", next.back, code_of(&answer), next.state)).await;
    let (ok, said) = next.run.end(&world).await;
    assert!(!ok);
    says(&said, &["AADSTS", "sign in anew"]);

    let (ok, said) = Run::start(&world, &["tenant", "connect"], "y\nn\n").end(&world).await;
    assert!(!ok);
    says(&said, &["plan was not approved", "“Posthouse Mail Flow” exists", "connect` again", "disconnect` to remove"]);
    let now: Value = serde_json::from_str(&export(&world, 0).await).unwrap();
    assert_eq!(now["exchange"], then["exchange"]);
    disconnect(&world).await;
    assert_same(&before, &export(&world, 0).await);
}
