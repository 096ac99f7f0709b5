//! The views of MCP Apps: who is offered them, for which tools, and what the pages contain.
//!
//! `.ci/check-views` opens them in a browser.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::fixture;
use crate::session::Session;
use crate::snapshot;

const MEDIA_TYPE: &str = "text/html;profile=mcp-app";
const PAGES: [&str; 3] = ["cluster", "metrics", "task"];

/// What a client that shows views declares.
fn shows_views() -> Value {
    json!({ "extensions": { "io.modelcontextprotocol/ui": { "mimeTypes": ["text/plain", MEDIA_TYPE] } } })
}

/// A session of 2025-11-25 with a client that has these capabilities, and the result of `initialize`.
fn session(arguments: &[&str], capabilities: &Value) -> (Session, Value) {
    let mut session = Session::start(arguments, &[]);
    let client = json!({ "name": "test", "version": "1" });
    let params = json!({
        "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": client,
    });
    let result = ask(&mut session, "initialize", params);
    (session, result)
}

fn ask(session: &mut Session, method: &str, params: Value) -> Value {
    let request = json!({ "jsonrpc": "2.0", "id": method, "method": method, "params": params });
    session.send(&request.to_string());
    session.receive()
}

fn page(session: &mut Session, name: &str) -> String {
    let uri = format!("ui://proxmox/{name}");
    let answer = ask(session, "resources/read", json!({ "uri": uri }));
    let content = &answer["result"]["contents"][0];
    assert_eq!(
        (&content["uri"], &content["mimeType"]),
        (&json!(uri), &json!(MEDIA_TYPE)),
        "{answer}"
    );
    content["text"].as_str().expect("HTML is text").to_owned()
}

/// The names of the tools that a page may call or ask for.
fn offered(page: &str) -> Vec<String> {
    let rest = page.split("const TOOLS = ").nth(1).expect("it has them");
    let list = rest.split(';').next().unwrap_or_default();
    serde_json::from_str(list).expect("a list of names")
}

#[test]
fn who_does_not_show_views_sees_what_there_was_before() {
    let flat = json!({ "extensions": { "io.modelcontextprotocol/ui": {} } });
    let other =
        json!({ "extensions": { "io.modelcontextprotocol/ui": { "mimeTypes": ["text/html"] } } });
    let odd = json!({ "extensions": [MEDIA_TYPE] });
    let (mut plain, welcome) = session(&["--toolsets", "all"], &json!({}));
    let listed = ask(&mut plain, "tools/list", json!({}));
    assert!(!listed.to_string().contains("_meta"));
    for capabilities in [flat, other, odd] {
        let (mut session, same) = session(&["--toolsets", "all"], &capabilities);
        assert_eq!(same, welcome);
        assert_eq!(ask(&mut session, "tools/list", json!({})), listed);
        let resources = ask(&mut session, "resources/list", json!({}));
        assert_eq!(resources["result"], json!({ "resources": [] }));
        let read = ask(
            &mut session,
            "resources/read",
            json!({ "uri": "ui://proxmox/task" }),
        );
        assert_eq!(read["error"]["code"], -32601);
        // Without sessions, each request is judged by itself.
        for method in [
            "resources/list",
            "resources/read",
            "resources/templates/list",
        ] {
            let answer = session.request_as(capabilities.clone(), method, json!({}));
            assert_eq!(answer["error"]["code"], -32601, "{method}");
        }
        let stateless = session.request_as(capabilities.clone(), "tools/list", json!({}));
        assert_eq!(stateless["result"]["tools"], listed["result"]["tools"]);
    }
}

#[test]
fn a_client_that_shows_views_gets_the_same_tools_and_where_their_views_are() {
    let (mut session, welcome) = session(&["--toolsets", "all"], &shows_views());
    assert_eq!(
        welcome["result"]["capabilities"],
        json!({ "tools": {}, "resources": {} })
    );
    let listed = ask(&mut session, "tools/list", json!({}))["result"]["tools"].take();
    let stateless = session.request_as(shows_views(), "tools/list", json!({}));
    assert_eq!(stateless["result"]["tools"], listed);
    let (mut plain, _) = self::session(&["--toolsets", "all"], &json!({}));
    let mut bare = listed.clone();
    for tool in bare.as_array_mut().expect("a list") {
        tool.as_object_mut().expect("an object").remove("_meta");
    }
    assert_eq!(
        ask(&mut plain, "tools/list", json!({}))["result"]["tools"],
        bare
    );

    let resources = ask(&mut session, "resources/list", json!({}));
    let uris: Vec<&Value> = resources["result"]["resources"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|resource| &resource["uri"])
        .collect();
    let expected = PAGES.map(|name| format!("ui://proxmox/{name}"));
    assert_eq!(uris, expected.iter().collect::<Vec<_>>());
    for tool in listed.as_array().expect("a list") {
        let uri = &tool["_meta"]["ui"]["resourceUri"];
        assert!(uri.is_null() || uris.contains(&uri), "{tool}");
    }
}

/// Whether an answer names a task that was started or followed, as data.
fn has_upid(tool: &str) -> bool {
    let path = snapshot::below_package(&fixture::answers_path(tool));
    let answers = fs::read_to_string(path).unwrap_or_default();
    answers.lines().any(|line| {
        let data = line.strip_prefix("--- ").unwrap_or_default();
        serde_json::from_str::<Value>(data).is_ok_and(|data| data["upid"].is_string())
    })
}

#[test]
fn every_tool_that_answers_with_a_upid_has_the_view_of_a_task() {
    let (mut session, _) = session(&["--toolsets", "all"], &shows_views());
    let listed = ask(&mut session, "tools/list", json!({}))["result"]["tools"].take();
    let shown: BTreeSet<String> = listed
        .as_array()
        .expect("a list")
        .iter()
        .filter(|tool| tool["_meta"]["ui"]["resourceUri"] == "ui://proxmox/task")
        .filter_map(|tool| Some(tool["name"].as_str()?.to_owned()))
        .collect();
    let tools = fixture::tools().into_iter();
    let mut expected: BTreeSet<String> = tools.filter(|tool| has_upid(tool)).collect();
    // It is open as long as its task runs, and there is nothing to follow.
    expected.remove("proxmox_create_console");
    let missing: Vec<_> = expected.difference(&shown).collect();
    let superfluous: Vec<_> = shown.difference(&expected).collect();
    assert!(
        missing.is_empty() && superfluous.is_empty(),
        "`of` in src/server/views.rs lacks {missing:?}, and {superfluous:?} have no UPID in fixtures/answers"
    );
}

#[test]
fn a_page_is_whole_small_and_asks_for_nothing_from_elsewhere() {
    let everything = ["--toolsets", "all", "--allow-elevated"];
    let (mut session, _) = session(&everything, &shows_views());
    for name in PAGES {
        let page = page(&mut session, name);
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>"));
        assert!(page.len() <= 30_000, "{name} has {} bytes", page.len());
        assert!(!page.contains("/*"), "{name}: a mark was not replaced");
        let addresses = page.matches("://").count();
        let names = page.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(addresses, names, "{name}");
        // Data becomes text.
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            "Function(",
            "fetch(",
            "XMLHttp",
            "import(",
            "src=",
            "href=",
            "localStorage",
            "cookie",
        ] {
            assert!(!page.contains(word), "{name} contains {word}");
        }
    }
}

#[test]
fn a_page_offers_what_the_settings_allow() {
    let offers = |arguments: &[&str], name: &str| {
        let (mut session, _) = session(arguments, &shows_views());
        offered(&page(&mut session, name))
    };
    let reading = [
        "proxmox_get_nodes",
        "proxmox_get_vms",
        "proxmox_get_storage",
    ];
    assert_eq!(offers(&[], "cluster"), reading);
    assert_eq!(
        offers(&["--exclude-tools", "proxmox_get_nodes"], "cluster"),
        reading[1..]
    );
    let changing = offers(&["--allow-elevated"], "cluster");
    assert!(changing.iter().any(|tool| tool == "proxmox_start_vm"));
    assert_eq!(
        offers(&["--allow-elevated", "--read-only"], "cluster"),
        reading
    );
    assert_eq!(offers(&[], "task"), ["proxmox_get_node_task"]);
    assert_eq!(
        offers(&["--toolsets", "all"], "metrics"),
        ["proxmox_get_metrics"]
    );
}

#[test]
fn pages_name_only_tools_that_exist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/views");
    let known = fixture::tools();
    for name in PAGES {
        let page = fs::read_to_string(folder.join(format!("{name}.html"))).expect("it is there");
        for tool in page.split("\"proxmox_").skip(1) {
            let tool = format!("proxmox_{}", tool.split('"').next().unwrap_or_default());
            assert!(known.contains(&tool), "{name} names {tool}");
        }
    }
}

#[test]
fn an_unknown_resource_is_a_fault_of_its_era() {
    let (mut session, _) = session(&[], &shows_views());
    let params = json!({ "uri": "ui://proxmox/none" });
    for (answer, code) in [
        (ask(&mut session, "resources/read", params.clone()), -32002),
        (
            session.request_as(shows_views(), "resources/read", params.clone()),
            -32602,
        ),
    ] {
        assert_eq!(answer["error"]["code"], code);
        assert_eq!(answer["error"]["data"], params);
    }
    let answer = ask(&mut session, "resources/read", json!({ "uri": 5 }));
    assert_eq!(answer["error"]["code"], -32602);
}
