//! Statuses that do not come from the API itself: those of pveproxy when it forwards a request to another
//! daemon or node (595 to 599), and those of other servers at the address.

use std::time::Duration;

use crate::request::Method;

/// How long pveproxy waits for another daemon or node, 30 s (`PVE/APIServer/AnyEvent.pm`, `proxy_request`),
/// less one second, since two clocks never agree exactly.
const PATIENCE: Duration = Duration::from_secs(29);

/// The answer to a request that may not have reached its handler.
#[derive(Clone, Copy)]
pub(crate) struct Transit<'a> {
    pub(crate) status: u16,
    /// The reason phrase, or the message in the body.
    pub(crate) said: &'a str,
    /// Whether the body is a web page.
    pub(crate) is_page: bool,
    /// How long the answer took.
    pub(crate) took: Duration,
    pub(crate) method: Method,
    pub(crate) path: &'a str,
}

/// What to do about a status.
enum Then {
    /// Call again, unless the request may still be running.
    CallAgain,
    /// This, as a sentence.
    Do(&'static str),
    Nothing,
}

impl Transit<'_> {
    /// Returns whether the request may have reached its handler, and may still be running.
    pub(crate) fn may_be_running(&self) -> bool {
        match self.status {
            596 => !self.is_untrusted(),
            502 | 504 | 597..=599 => true,
            _ => false,
        }
    }

    /// Returns what the status means and what to do; `None` if the API itself answered.
    pub(crate) fn remedy(&self) -> Option<String> {
        let who = self.who();
        const NODES: &str = "; proxmox_get_nodes shows which nodes are online";
        let (means, then) = match self.status {
            429 => (
                "A proxy in front of Proxmox VE limits the number of requests".to_owned(),
                Then::Do("Wait a minute, then call again."),
            ),
            502 => (
                "A proxy answered, but could not reach Proxmox VE".to_owned(),
                Then::Do(
                    "Check that pveproxy runs, or set PROXMOX_HOST and PROXMOX_PORT to a node itself.",
                ),
            ),
            503 => (
                "A proxy answered, or a server that is overloaded or under maintenance".to_owned(),
                Then::Do(
                    "Call again later, or set PROXMOX_HOST and PROXMOX_PORT to a node itself.",
                ),
            ),
            504 => (
                "A proxy answered, but did not wait for Proxmox VE".to_owned(),
                Then::Do("Narrow the request, or raise the timeout of the proxy."),
            ),
            _ if self.is_page => (
                "The answer is a web page: a proxy, a router or a web server is at that address instead of Proxmox VE".to_owned(),
                Then::Do("Check PROXMOX_HOST and PROXMOX_PORT."),
            ),
            595 => (format!("{who} is not answering the cluster{NODES}"), Then::Nothing),
            596 if self.is_untrusted() => (
                format!("The cluster does not trust the certificate of {who}, nothing was passed on"),
                Then::Do("On that node, as root: pvecm updatecerts && systemctl restart pveproxy."),
            ),
            596 if self.took >= PATIENCE => (format!("{who} took longer than 30 s to answer{NODES}"), Then::Nothing),
            // pveproxy's own name for it (a comment in `proxy_request`).
            599 if self.said.eq_ignore_ascii_case("too many redirections") => (
                format!("{who} closed the connection, which pveproxy calls too many redirections"),
                Then::CallAgain,
            ),
            596..=599 => (
                format!("The connection to {who} broke; its pveproxy or pvedaemon may have restarted"),
                Then::CallAgain,
            ),
            _ => return None,
        };
        let means = capitalized(&means);
        if !self.may_be_running() || self.method.only_reads() {
            let then = match then {
                Then::CallAgain => "Call again.",
                Then::Do(what) => what,
                Then::Nothing => "",
            };
            return Some(format!("{means}. {then}").trim_end().to_owned());
        }
        let then = match then {
            Then::Do(what) => what,
            Then::CallAgain | Then::Nothing => "",
        };
        let place = match self.path.rsplit('/').next() {
            // These do not start a task.
            Some("config") => "the configuration of the guest",
            Some("exec") => "what runs in the guest",
            Some("fsfreeze-freeze" | "fsfreeze-thaw") => {
                "the guest (proxmox_query_agent with query=fsfreeze_status)"
            }
            _ if self.path.contains("/agent/") => "the guest",
            _ => "proxmox_get_node_tasks",
        };
        let text = format!(
            "{means}. The change may still be running: look at {place} before you repeat it. {then}"
        );
        Some(text.trim_end().to_owned())
    }

    fn is_untrusted(&self) -> bool {
        self.status == 596 && self.said.contains("certificate verify failed")
    }

    /// Returns who did not answer: without a node in its path, a request is for the host's own daemon, or for
    /// a node that its parameters name.
    fn who(&self) -> String {
        let node = self.path.strip_prefix("/nodes/");
        match node.and_then(|rest| rest.split('/').next()) {
            Some(node) => format!("node {node}"),
            None => "a node or the pvedaemon of the host".to_owned(),
        }
    }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Method::{Get, Post, Put};

    fn remedy(method: Method, path: &str, status: u16, said: &str, seconds: u64) -> Option<String> {
        transit(method, path, status, said, seconds).remedy()
    }

    fn transit<'a>(
        method: Method,
        path: &'a str,
        status: u16,
        said: &'a str,
        seconds: u64,
    ) -> Transit<'a> {
        Transit {
            status,
            said,
            is_page: false,
            took: Duration::from_secs(seconds),
            method,
            path,
        }
    }

    #[test]
    fn each_status_has_its_own_advice() {
        const NODE: &str = "/nodes/pve2/status";
        // The messages at 596 were recorded from PVE 9.2.11.
        const UNTRUSTED: &str = "error:0A000086:SSL routines::certificate verify failed";
        let cases = [
            (
                NODE,
                595,
                "Connection refused",
                0,
                "Node pve2 is not answering the cluster; proxmox_get_nodes shows which nodes are online.",
            ),
            (
                "/cluster/sdn/dry-run",
                595,
                "Connection refused",
                0,
                "A node or the pvedaemon of the host is not answering the cluster; proxmox_get_nodes shows which nodes are online.",
            ),
            (
                NODE,
                596,
                "Connection timed out",
                30,
                "Node pve2 took longer than 30 s to answer; proxmox_get_nodes shows which nodes are online.",
            ),
            (
                NODE,
                596,
                "Broken pipe",
                0,
                "The connection to node pve2 broke; its pveproxy or pvedaemon may have restarted. Call again.",
            ),
            (
                NODE,
                596,
                UNTRUSTED,
                0,
                "The cluster does not trust the certificate of node pve2, nothing was passed on. On that node, as root: pvecm updatecerts && systemctl restart pveproxy.",
            ),
            (
                NODE,
                597,
                "Connection reset by peer",
                2,
                "The connection to node pve2 broke; its pveproxy or pvedaemon may have restarted. Call again.",
            ),
            (
                NODE,
                599,
                "Too many redirections",
                0,
                "Node pve2 closed the connection, which pveproxy calls too many redirections. Call again.",
            ),
            (
                NODE,
                429,
                "Too Many Requests",
                0,
                "A proxy in front of Proxmox VE limits the number of requests. Wait a minute, then call again.",
            ),
            (
                NODE,
                502,
                "Bad Gateway",
                0,
                "A proxy answered, but could not reach Proxmox VE. Check that pveproxy runs, or set PROXMOX_HOST and PROXMOX_PORT to a node itself.",
            ),
            (
                NODE,
                503,
                "Service Unavailable",
                0,
                "A proxy answered, or a server that is overloaded or under maintenance. Call again later, or set PROXMOX_HOST and PROXMOX_PORT to a node itself.",
            ),
            (
                NODE,
                504,
                "Gateway Time-out",
                60,
                "A proxy answered, but did not wait for Proxmox VE. Narrow the request, or raise the timeout of the proxy.",
            ),
        ];
        for (path, status, said, seconds, expected) in cases {
            let text = remedy(Get, path, status, said, seconds);
            assert_eq!(text.as_deref(), Some(expected), "{status} {said}");
        }
        assert_eq!(remedy(Get, NODE, 500, "got timeout", 40), None);
    }

    #[test]
    fn reports_a_web_page_as_one_unless_its_status_says_more() {
        let page = |status| {
            Transit {
                is_page: true,
                ..transit(Get, "/version", status, "x", 0)
            }
            .remedy()
            .expect("a page is never of the API")
        };
        for status in [401, 403, 404, 500] {
            assert!(page(status).contains("a web page"), "{status}");
        }
        assert!(page(502).contains("A proxy"));
    }

    #[test]
    fn says_not_to_repeat_a_change_that_may_still_be_running() {
        const START: &str = "/nodes/pve2/qemu/100/status/start";
        for (status, said, seconds, goes_on) in [
            (595, "Connection refused", 0, false),
            (596, "certificate verify failed", 0, false),
            (596, "Broken pipe", 0, true),
            (596, "Connection timed out", 30, true),
            (597, "x", 0, true),
            (599, "Too many redirections", 0, true),
            (502, "Bad Gateway", 0, true),
            (504, "Gateway Time-out", 0, true),
            (429, "Too Many Requests", 0, false),
        ] {
            assert_eq!(
                transit(Post, START, status, said, seconds).may_be_running(),
                goes_on,
                "{status}"
            );
            let text = remedy(Post, START, status, said, seconds).expect("it has a text");
            assert_eq!(
                text.contains("look at proxmox_get_node_tasks before"),
                goes_on,
                "{text}"
            );
            assert!(!goes_on || !text.contains("Call again."), "{text}");
        }
        for (path, place) in [
            (
                "/nodes/pve2/qemu/100/config",
                "the configuration of the guest",
            ),
            ("/nodes/pve2/qemu/100/agent/exec", "what runs in the guest"),
        ] {
            let text = remedy(Put, path, 596, "Connection timed out", 30).expect("it has a text");
            assert!(text.contains(&format!("look at {place} before")), "{text}");
        }
    }
}
