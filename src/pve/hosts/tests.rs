//! Several scripted hosts: which of them gets a request, and what is reported about the others.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{SocketAddr, TcpListener};

use super::*;
use crate::pve::http::tests::{
    Host, Step, assert_holds, cancelled, connection, get, listener, logged, maybe_processed,
    not_sent, nowhere, ok, post, raw, read,
};
use crate::settings::Check;

const HOUR: Duration = Duration::from_secs(3600);

/// Creates hosts at these addresses; `checks` are for those that speak TLS.
fn hosts_with(
    checks: &[Option<Check>],
    places: &[SocketAddr],
    peer: Peer,
    return_after: Duration,
) -> Hosts {
    let pins = checks.iter().map(|check| match check {
        Some(Check::Pin(pin)) => Some(*pin),
        _ => None,
    });
    let pins: Vec<Option<[u8; 32]>> = pins.collect();
    let mut all = checks
        .iter()
        .zip(places)
        .enumerate()
        .map(|(place, (check, at))| {
            let tls = check.is_some();
            let mut connection = connection(tls, *at, check.unwrap_or(Check::Strict), &["ca"]);
            connection.hosts[0].trust.pins = pins.clone();
            connection.hosts[0].trust.place = place;
            connection
        });
    let mut connection = all.next().unwrap();
    connection.hosts.extend(all.flat_map(|other| other.hosts));
    Hosts::with(&connection, peer, &[], return_after)
}

fn plain(places: &[SocketAddr]) -> Hosts {
    hosts_with(&vec![None; places.len()], places, Peer::none(), HOUR)
}

#[track_caller]
fn said(hosts: &Hosts) -> String {
    hosts.answered_by().unwrap().to_string()
}

fn pin(certificate: &str) -> [u8; 32] {
    trust::sha256(&read(certificate))
}

fn line_to_set(certificates: &[&str]) -> String {
    let entries: Vec<String> = certificates
        .iter()
        .map(|name| trust::fingerprint(&pin(name)))
        .collect();
    format!("PROXMOX_FINGERPRINT={}\n", entries.join(","))
}

#[test]
fn says_nothing_if_the_first_host_answers() {
    let [first, second] = [vec![vec![ok("{}")]], vec![]].map(Host::plain);
    let hosts = plain(&[first.at, second.at]);
    hosts.exchange(&get()).unwrap();
    assert!(hosts.answered_by().is_none());
    assert_eq!(first.requests().len(), 1);
}

#[test]
fn a_request_moves_on_from_hosts_that_cannot_be_reached() {
    for request in [get(), post()] {
        let host = Host::plain(vec![vec![ok("{}")]]);
        let gone = [nowhere(), nowhere()];
        let hosts = plain(&[gone[0], gone[1], host.at]);
        hosts.exchange(&request).unwrap();
        assert_eq!(
            said(&hosts),
            format!(
                "Answered by {} (cannot reach {}: connection refused; cannot reach {}: connection refused)",
                host.at, gone[0], gone[1]
            )
        );
        assert_eq!(host.requests().len(), 1);
    }
}

#[test]
fn skips_a_name_without_an_address() {
    let host = Host::plain(vec![vec![ok("{}")]]);
    let mut all = connection(false, nowhere(), Check::Strict, &[]);
    // A label has at most 63 letters (RFC 1035), so the resolver sends no query for this one.
    all.hosts[0].name = format!("{}.invalid", "p".repeat(64));
    let other = connection(false, host.at, Check::Strict, &[]);
    all.hosts.extend(other.hosts);
    let hosts = Hosts::with(&all, Peer::none(), &[], HOUR);
    hosts.exchange(&post()).unwrap();
    assert_holds(
        &said(&hosts),
        &["there is no address for the host name ppp"],
    );
    assert_eq!(host.requests().len(), 1);
}

#[test]
fn reports_an_untrusted_certificate_each_time_and_logs_it_once_with_the_line_to_set() {
    let first = Host::tls("alone", vec![vec![ok("{}")]]);
    let second = Host::tls("server", vec![vec![ok("{}"), ok("{}")]]);
    let strict = [Some(Check::Strict); 2];
    let hosts = hosts_with(&strict, &[first.at, second.at], Peer::none(), HOUR);
    let log = logged(|| {
        for request in [post(), get()] {
            hosts.exchange(&request).unwrap();
            assert_eq!(
                said(&hosts),
                format!(
                    "Answered by {} (the certificate of {} is not trusted: unknown issuer, it is self-signed)",
                    second.at, first.at
                )
            );
        }
    });
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    let line = format!(
        "PROXMOX_FINGERPRINT={},\n",
        trust::fingerprint(&pin("alone"))
    );
    assert_holds(&log, &[&line]);
    drop(hosts);
    assert_eq!((first.requests().len(), second.requests().len()), (0, 2));
}

#[test]
fn checks_each_host_against_its_own_fingerprint() {
    let start = || ["alone", "server"].map(|name| Host::tls(name, vec![vec![ok("{}")]]));
    let hosts = |pins: [&str; 2], places: &[Host; 2]| {
        let checks = pins.map(|name| Some(Check::Pin(pin(name))));
        let places = [places[0].at, places[1].at];
        hosts_with(&checks, &places, Peer::none(), HOUR)
    };
    let places = start();
    hosts(["alone", "expired"], &places)
        .exchange(&post())
        .unwrap();
    let [first, _] = places;
    assert_eq!(first.requests().len(), 1);

    let places = start();
    let text = not_sent(hosts(["expired", "future"], &places).exchange(&post()));
    assert_holds(
        &format!("{text}\n"),
        &[
            &format!("the certificate of {} is not trusted", places[0].at),
            &line_to_set(&["alone", "future"]),
            &format!("the certificate of {} is not trusted", places[1].at),
            &line_to_set(&["expired", "server"]),
        ],
    );
    for host in places {
        assert_eq!(host.requests().len(), 0);
    }
}

#[test]
fn sends_nothing_to_another_host_once_one_received_the_request() {
    for request in [get(), post()] {
        let first = Host::plain(vec![vec![raw("")]]);
        let second = Host::plain(vec![vec![ok("{}")]]);
        let hosts = plain(&[first.at, second.at]);
        let text = maybe_processed(hosts.exchange(&request));
        assert!(
            text.starts_with(&format!("got no answer: {}: ", first.at)),
            "{text}"
        );
        assert!(hosts.answered_by().is_none());

        // The next request tries another host first, for a long time, since this loss cost a whole call.
        assert!(hosts.return_at.get().unwrap() > Instant::now() + 9 * HOUR);
        hosts.exchange(&get()).unwrap();
        let expected = format!("Answered by {} ({} gave no answer)", second.at, first.at);
        assert_eq!(said(&hosts), expected);
        assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
    }
}

#[test]
fn an_error_and_a_redirection_are_answers() {
    let error = raw("HTTP/1.1 595 No route to host\r\nContent-Length: 0\r\n\r\n");
    let redirection = raw("HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n");
    let first = Host::plain(vec![vec![error, redirection, ok("1")]]);
    let second = Host::plain(vec![vec![ok("{}")]]);
    let hosts = plain(&[first.at, second.at]);
    assert_eq!(hosts.exchange(&get()).unwrap().status, 595);
    assert_holds(
        &maybe_processed(hosts.exchange(&post())),
        &["is not the API"],
    );
    assert_eq!(hosts.exchange(&get()).unwrap().body, 1);
    assert_eq!(first.requests().len(), 3);
}

#[test]
fn names_all_hosts_if_none_can_be_used() {
    let untrusted = Host::tls("alone", vec![vec![ok("{}")]]);
    let gone = [nowhere(), nowhere()];
    let strict = [Some(Check::Strict); 3];
    let places = [gone[0], gone[1], untrusted.at];
    let hosts = hosts_with(&strict, &places, Peer::none(), HOUR);
    let mut text = String::new();
    let log = logged(|| text = not_sent(hosts.exchange(&post())));
    assert!(!log.contains("WARN"), "the error says it: {log}");
    let lines: Vec<&str> = text.lines().collect();
    let headline = "none of 3 hosts can be used: ";
    assert_eq!(
        lines[0],
        format!("{headline}cannot reach {}: connection refused", gone[0])
    );
    assert_eq!(
        lines[1],
        format!("cannot reach {}: connection refused", gone[1])
    );
    assert!(lines[2].starts_with("Check PROXMOX_HOST"), "{text}");
    assert_holds(lines[3], &[&untrusted.at.to_string(), "is not trusted"]);
    assert_eq!(text.matches("Check PROXMOX_HOST").count(), 1, "{text}");
}

#[test]
fn stays_with_the_host_that_answered_until_the_first_is_due_again() {
    for (return_after, comes_back) in [(HOUR, false), (Duration::ZERO, true)] {
        let at = nowhere();
        let second = Host::plain(vec![vec![ok("2"), ok("2")]]);
        let places = [at, second.at];
        let hosts = hosts_with(&[None; 2], &places, Peer::none(), return_after);
        hosts.exchange(&get()).unwrap();
        let listener = TcpListener::bind(at).unwrap();
        let _first = Host::plain_at(listener, vec![vec![ok("1"), Step::Hold]]);
        let body = hosts.exchange(&get()).unwrap().body;
        assert_eq!(body, if comes_back { 1 } else { 2 });
        assert_eq!(hosts.answered_by().is_none(), comes_back);
    }
}

#[test]
fn every_host_is_tried_once() {
    let hosts = plain(&[nowhere(), nowhere(), nowhere()]);
    hosts.current.set(1);
    assert_eq!(hosts.order().collect::<Vec<_>>(), [0, 1, 2]);
    hosts.put_off(0, HOUR);
    assert_eq!(hosts.order().collect::<Vec<_>>(), [1, 2, 0]);
    hosts.put_off(1, Duration::ZERO);
    assert_eq!(hosts.order().collect::<Vec<_>>(), [1, 2, 0]);
}

#[test]
fn a_fault_is_logged_once_while_it_lasts() {
    let at = nowhere();
    let second = Host::plain(vec![vec![ok("2"), ok("2"), ok("2")]]);
    let hosts = hosts_with(&[None; 2], &[at, second.at], Peer::none(), Duration::ZERO);
    let log = logged(|| {
        for _ in 0..2 {
            assert_eq!(hosts.exchange(&get()).unwrap().body, 2);
        }
    });
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    let first = Host::plain_at(TcpListener::bind(at).unwrap(), vec![vec![ok("1")]]);
    assert_eq!(hosts.exchange(&get()).unwrap().body, 1);
    first.requests();
    let log = logged(|| assert_eq!(hosts.exchange(&get()).unwrap().body, 2));
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
}

#[test]
fn returns_to_the_first_host_if_another_disappears() {
    let at = nowhere();
    let second = Host::plain(vec![vec![ok("2")]]);
    let hosts = plain(&[at, second.at]);
    hosts.exchange(&get()).unwrap();
    assert_eq!(second.requests().len(), 1);
    let first = Host::plain_at(TcpListener::bind(at).unwrap(), vec![vec![ok("1")]]);
    assert_eq!(hosts.exchange(&post()).unwrap().body, 1);
    assert!(hosts.answered_by().is_none());
    assert_eq!(first.requests().len(), 1);
}

#[test]
fn tries_no_host_for_a_cancelled_call() {
    for request in [get(), post()] {
        let places = [listener(), listener()];
        let at = places.each_ref().map(|place| place.local_addr().unwrap());
        let failure = hosts_with(&[None; 2], &at, cancelled(), HOUR).exchange(&request);
        let failure = failure.err();
        assert!(
            matches!(failure, Some(Failure::GivenUp { sent: false })),
            "{failure:?}"
        );
        for place in places {
            place.set_nonblocking(true).unwrap();
            place.accept().unwrap_err();
        }
    }
}

#[test]
fn connecting_to_all_hosts_takes_no_longer_than_clients_wait() {
    assert_eq!(longest_connect(1), LONGEST_CONNECT);
    for hosts in 2..=16 {
        let each = longest_connect(hosts as usize);
        assert!(each * hosts <= LONGEST_CONNECT_OF_ALL);
        // A lost packet is sent again after 1 s.
        assert!(each > Duration::from_secs(1));
    }
}
