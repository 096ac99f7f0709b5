//! The login to a host that plays a script.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::pve::http::tests::{Host as Server, Step, assert_holds, connection, get, ok, raw, read};
use crate::pve::reader::Cluster;
use crate::pve::trust::sha256;
use crate::request::Login::{Confirmed, Root};
use crate::settings::Check;
use crate::text::totp::Key;

use super::*;

const PASSWORD: &str = "correct-horse-battery";
const TICKET: &str = "PVE:root@pam:6A55FD63::c2lnbmF0dXJl+/==";
const CSRF_TOKEN: &str = "6A55FD63:Y3NyZi10b2tlbg";

fn granted(ticket: &str) -> Step {
    ok(&format!(
        r#"{{"data":{{"username":"root@pam","ticket":"{ticket}","CSRFPreventionToken":"{CSRF_TOKEN}"}}}}"#
    ))
}

/// Proxmox's answer to the password of a user with a second factor, dated 59 s after 1970.
fn challenged(factors: &str) -> Step {
    let factors = text::percent::encode(factors);
    let body = format!(
        r#"{{"data":{{"NeedTFA":1,"ticket":"PVE:!tfa!{factors}:6A55FD63::eA==","CSRFPreventionToken":"x"}}}}"#
    );
    raw(&format!(
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:59 GMT\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// The answer as recorded.
fn refused() -> Step {
    let body = r#"{"message":"authentication failure\n","data":null}"#;
    raw(&format!(
        "HTTP/1.1 401 authentication failure\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn done() -> Step {
    ok(r#"{"data":null}"#)
}

fn with_login(connection: Connection, user: &str, totp: Option<Key>) -> Connection {
    let login = settings::Login {
        user: user.to_owned(),
        password: Secret::new(PASSWORD.to_owned()),
        totp,
    };
    Connection {
        login: Some(login),
        ..connection
    }
}

fn factor() -> Option<Key> {
    Some(Key::new(b"12345678901234567890"))
}

/// Lets a cluster do something that sends requests to a host in plain HTTP, which gives these answers on one
/// connection; returns the requests.
fn ask(
    user: &str,
    totp: Option<Key>,
    script: Vec<Step>,
    act: impl FnOnce(&Cluster, &Reader),
) -> Vec<String> {
    let server = Server::plain(vec![script]);
    let connection = connection(false, server.at, Check::Strict, &[]);
    let connection = with_login(connection, user, totp);
    let peer = Peer::none();
    let cluster = Cluster::new(&connection, peer.clone());
    act(&cluster, &Reader::new(&cluster, &peer));
    drop(cluster);
    server.requests()
}

/// Returns a read by the user who has logged in: only the gate can send a change.
fn wanted() -> Request {
    Request {
        login: Some(Root),
        ..get()
    }
}

fn failure(reader: &Reader) -> String {
    reader.send(&wanted()).unwrap_err().to_string()
}

#[track_caller]
fn assert_no_secret(text: &str) {
    for secret in [PASSWORD, TICKET, CSRF_TOKEN, "287082"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn logs_in_once_and_sends_ticket_and_csrf_token_and_no_api_token() {
    let requests = ask(
        "root@pam",
        None,
        vec![granted(TICKET), done(), done()],
        |_, reader| {
            for _ in 0..2 {
                reader.send(&wanted()).unwrap();
            }
        },
    );
    let [login, first, second] = &*requests else {
        panic!("{requests:?}");
    };
    assert!(
        login.starts_with("POST /api2/json/access/ticket "),
        "{login}"
    );
    let body = "\r\n\r\nusername=root%40pam&password=correct-horse-battery&new-format=1";
    assert!(login.ends_with(body), "{login}");
    assert!(!login.to_lowercase().contains("authorization"), "{login}");
    for request in [first, second] {
        let cookie = format!(
            "cookie: PVEAuthCookie={}\r\n",
            text::percent::encode(TICKET)
        );
        let csrf_token = format!("csrfpreventiontoken: {CSRF_TOKEN}\r\n");
        assert_holds(request, &["GET /api2/json/version ", &cookie, &csrf_token]);
        assert!(
            !request.to_lowercase().contains("authorization"),
            "{request}"
        );
    }
}

#[test]
fn sends_the_token_unless_a_login_is_needed() {
    let requests = ask("root@pam", None, vec![done()], |_, reader| {
        reader.send(&get()).unwrap();
    });
    assert_holds(&requests[0], &["authorization: PVEAPIToken=root@pam!mcp="]);
    assert!(!requests[0].contains("cookie"), "{requests:?}");
}

#[test]
fn sends_nothing_if_the_certificate_is_only_tolerated_or_unchecked() {
    for check in [Check::Verify, Check::Insecure] {
        let server = Server::tls("server", vec![vec![granted(TICKET)]]);
        let connection = connection(true, server.at, check, &["alone"]);
        let connection = with_login(connection, "root@pam", None);
        let peer = Peer::none();
        let cluster = Cluster::new(&connection, peer.clone());
        let text = failure(&Reader::new(&cluster, &peer));
        assert_holds(
            &text,
            &[
                "is not trusted, GET /version was not sent",
                "unknown issuer",
                "Set PROXMOX_CA_FILE",
                "PROXMOX_FINGERPRINT=",
            ],
        );
        assert!(!text.contains("verify"), "{text}");
        assert_eq!(server.requests(), [""; 0], "{check:?}");
    }
}

#[test]
fn accepts_a_trusted_certificate_in_every_mode() {
    let pin = Check::Pin(sha256(&read("server")));
    for (check, listed) in [
        (Check::Strict, &["ca"][..]),
        (Check::Verify, &["ca"]),
        (Check::Insecure, &["ca"]),
        (pin, &[]),
    ] {
        let server = Server::tls("server", vec![vec![granted(TICKET), done()]]);
        let connection = connection(true, server.at, check, listed);
        let connection = with_login(connection, "root@pam", None);
        let peer = Peer::none();
        let cluster = Cluster::new(&connection, peer.clone());
        Reader::new(&cluster, &peer).send(&wanted()).unwrap();
        drop(cluster);
        assert_eq!(server.requests().len(), 2, "{check:?}");
    }
}

#[test]
fn renews_the_ticket_within_two_hours_without_the_password() {
    for (age, expected) in [
        (89, &["wanted"][..]),
        (91, &["by ticket", "wanted"]),
        (114, &["by ticket", "wanted"]),
        (116, &["by password", "wanted"]),
    ] {
        let mut script = vec![granted(TICKET), done()];
        script.extend(expected.iter().map(|what| match *what {
            "wanted" => done(),
            _ => granted(TICKET),
        }));
        let requests = ask("root@pam", None, script, |cluster, reader| {
            reader.send(&wanted()).unwrap();
            age_ticket(cluster, age);
            reader.send(&wanted()).unwrap();
        });
        let seen: Vec<&str> = requests[2..].iter().map(|request| kind(request)).collect();
        assert_eq!(seen, expected, "{age} min");
    }
}

#[test]
fn logs_in_again_if_the_ticket_cannot_be_renewed() {
    let script = [granted(TICKET), done(), refused(), granted(TICKET), done()];
    let server = Server::plain(vec![script.to_vec()]);
    let connection = connection(false, server.at, Check::Strict, &[]);
    let connection = with_login(connection, "root@pam", None);
    let peer = Peer::none();
    let cluster = Cluster::new(&connection, peer.clone());
    let reader = Reader::new(&cluster, &peer);
    reader.send(&wanted()).unwrap();
    age_ticket(&cluster, 100);
    reader.send(&wanted()).unwrap();
    drop(cluster);
    let requests = server.requests();
    let seen: Vec<&str> = requests[2..].iter().map(|request| kind(request)).collect();
    assert_eq!(seen, ["by ticket", "by password", "wanted"]);
}

fn age_ticket(cluster: &Cluster, minutes: u64) {
    let login = cluster.login.as_ref().unwrap();
    let mut ticket = login.ticket.borrow_mut();
    ticket.as_mut().unwrap().since -= minutes * 60;
}

fn kind(request: &str) -> &'static str {
    let ticket = format!("password={}&", text::percent::encode(TICKET));
    match request {
        _ if request.contains(&format!("password={PASSWORD}&")) => "by password",
        _ if request.contains(&ticket) => "by ticket",
        _ if request.starts_with("GET ") => "wanted",
        _ => "something else",
    }
}

#[test]
fn computes_the_second_factor_by_the_clock_of_the_host() {
    let script = vec![
        challenged(r#"{"totp":true,"recovery":"high"}"#),
        granted(TICKET),
        done(),
    ];
    let requests = ask("root@pam", factor(), script, |_, reader| {
        reader.send(&wanted()).unwrap();
    });
    let body = requests[1].rsplit("\r\n").next().unwrap();
    let challenge =
        r#"PVE:!tfa!%7B%22totp%22%3Atrue%2C%22recovery%22%3A%22high%22%7D:6A55FD63::eA=="#;
    let challenge = text::percent::encode(challenge);
    assert_eq!(
        body,
        format!(
            "username=root%40pam&password=totp%3A287082&new-format=1&tfa-challenge={challenge}"
        )
    );
}

#[test]
fn says_what_is_missing_for_a_second_factor() {
    let takes_totp = r#"{"totp":true}"#;
    for (totp, script, expected) in [
        (
            None,
            vec![challenged(takes_totp)],
            &["needs a second factor", "Set PROXMOX_TOTP_SECRET_FILE"][..],
        ),
        (
            factor(),
            vec![challenged(r#"{"totp":false,"webauthn":{}}"#)],
            &["needs a second factor other than TOTP"],
        ),
        (
            factor(),
            vec![challenged(takes_totp), refused()],
            &[
                "was refused",
                "The password was right, the TOTP code was not",
            ],
        ),
    ] {
        ask("root@pam", totp, script, |_, reader| {
            let text = failure(reader);
            assert_holds(&text, &["the login as root@pam ", "nothing was changed"]);
            assert_holds(&text, expected);
            assert_no_secret(&text);
        });
    }
}

#[test]
fn stops_trying_before_refusals_lock_the_user() {
    let server = Server::plain(vec![vec![refused(); 3]]);
    let connection = connection(false, server.at, Check::Strict, &[]);
    let connection = with_login(connection, "root@pam", None);
    let peer = Peer::none();
    let cluster = Cluster::new(&connection, peer.clone());
    let reader = Reader::new(&cluster, &peer);
    for _ in 0..3 {
        let text = failure(&reader);
        assert_holds(
            &text,
            &[
                "the login as root@pam was refused, nothing was changed",
                "authentication failure (status 401)",
                "PROXMOX_PASSWORD_FILE",
            ],
        );
    }
    let text = failure(&reader);
    assert_holds(
        &text,
        &["was refused before and is not tried again", "restart"],
    );
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn refuses_a_user_who_can_never_do_it_before_anything_is_sent() {
    let server = Server::plain(Vec::new());
    let connection = connection(false, server.at, Check::Strict, &[]);
    let peer = Peer::none();
    let confirmed = Confirmed {
        by: "password",
        since: 8,
    };
    for (user, needed, expected) in [
        (
            None,
            Root,
            "set PROXMOX_LOGIN_USER=root@pam and PROXMOX_PASSWORD_FILE",
        ),
        (None, confirmed, "set PROXMOX_PASSWORD_FILE"),
        (Some("ops@pve"), Root, "The login is that of ops@pve"),
    ] {
        let connection = match user {
            Some(user) => with_login(connection.clone(), user, None),
            None => connection.clone(),
        };
        let cluster = Cluster::new(&connection, peer.clone());
        let request = Request {
            login: Some(needed),
            ..get()
        };
        let text = Reader::new(&cluster, &peer)
            .send(&request)
            .unwrap_err()
            .to_string();
        assert_holds(&text, &["nothing was sent", expected]);
    }
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn confirms_a_change_with_the_password_if_the_host_asks_for_it_except_for_root() {
    let version = || ok(r#"{"data":{"version":"9.2.11"}}"#);
    for (user, since, method, confirms) in [
        ("ops@pve", 8, Method::Put, true),
        ("ops@pve", 8, Method::Delete, true),
        ("ops@pve", 8, Method::Get, false),
        ("ops@pve", 10, Method::Put, false),
        ("root@pam", 8, Method::Put, false),
    ] {
        let needed = Confirmed {
            by: "confirmation-password",
            since,
        };
        let server = match user {
            "root@pam" => Server::plain(vec![vec![granted(TICKET), done()]]),
            _ => Server::plain(vec![vec![version()], vec![granted(TICKET), done()]]),
        };
        let connection = connection(false, server.at, Check::Strict, &[]);
        let connection = with_login(connection, user, None);
        let peer = Peer::none();
        let cluster = Cluster::new(&connection, peer.clone());
        let request = Request::new(method, "/access/x").by(Some(needed));
        let reader = Reader::new(&cluster, &peer);
        // Close the token's connection first, since the host plays one script after another.
        if user != "root@pam" {
            reader.major_version().unwrap();
        }
        let login = cluster.login.as_ref().unwrap();
        let sent = login.exchange(&reader, &request, needed).unwrap();
        sent.unwrap();
        drop(cluster);
        let last = server.requests().pop().unwrap();
        let confirmation = format!("confirmation-password={PASSWORD}");
        assert_eq!(last.contains(&confirmation), confirms, "{last}");
    }
}

#[test]
fn forgets_a_refused_ticket() {
    let invalid =
        || raw("HTTP/1.1 401 permission denied - invalid PVE ticket\r\nConnection: close\r\n\r\n");
    let server = Server::plain(vec![
        vec![granted(TICKET), invalid()],
        vec![granted(TICKET), done()],
    ]);
    let connection = connection(false, server.at, Check::Strict, &[]);
    let connection = with_login(connection, "root@pam", None);
    let peer = Peer::none();
    let cluster = Cluster::new(&connection, peer.clone());
    let reader = Reader::new(&cluster, &peer);
    assert_holds(&failure(&reader), &["The login has ended: call again"]);
    reader.send(&wanted()).unwrap();
    drop(cluster);
    let requests = server.requests();
    let seen: Vec<&str> = requests.iter().map(|request| kind(request)).collect();
    assert_eq!(seen, ["by password", "wanted", "by password", "wanted"]);
}

#[test]
fn neither_an_answer_nor_an_error_repeats_a_secret_of_the_login() {
    let echo = format!(r#"{{"data":"{PASSWORD} {TICKET} {CSRF_TOKEN}"}}"#);
    let fault = format!("HTTP/1.1 500 {PASSWORD} {TICKET} {CSRF_TOKEN}\r\n\r\n");
    ask(
        "root@pam",
        None,
        vec![granted(TICKET), ok(&echo), raw(&fault)],
        |_, reader| {
            assert_no_secret(&reader.send(&wanted()).unwrap().to_string());
            assert_no_secret(&failure(reader));
        },
    );
    let echo = format!("HTTP/1.1 401 no {PASSWORD}\r\n\r\n");
    ask("root@pam", None, vec![raw(&echo)], |_, reader| {
        assert_no_secret(&failure(reader));
    });
    let login = with_login(
        connection(false, "127.0.0.1:1".parse().unwrap(), Check::Strict, &[]),
        "root@pam",
        factor(),
    );
    assert_no_secret(&format!("{:?}", login.login));
}

#[test]
fn the_web_address_is_the_configured_host_or_the_node_behind_a_tunnel() {
    let at = "127.0.0.1:8443".parse().unwrap();
    for (tls, expected) in [
        (true, "https://127.0.0.1:8443"),
        (false, "https://pve1:8006"),
    ] {
        let connection = connection(tls, at, Check::Strict, &[]);
        let peer = Peer::none();
        let cluster = Cluster::new(&connection, peer.clone());
        assert_eq!(Reader::new(&cluster, &peer).web_address("pve1"), expected);
    }
}
