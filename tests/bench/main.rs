//! What a call costs, as ratios to programs that do only what nothing can do without.
//!
//! `cargo bench` starts a host with TLS on loopback, runs the same dialogue with each program, and
//! prints a line for each measure. This executable is also those other programs (see `floor.rs`):
//! it starts itself again with the name of one.

#![expect(clippy::print_stdout, reason = "figures are what it is run for")]

mod floor;
mod host;
mod session;

use std::path::Path;
use std::time::Duration;
use std::{env, fs, process};

use serde_json::{Value, json};

use session::{Cost, Program, Session};

/// How often a program is started, or a single call is made, for one figure.
const STARTS: usize = 31;
const CALLS: u64 = 300;
const AT_ONCE: u64 = 200;
const LARGE: u64 = 7;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["nothing", answers] => floor::nothing(answers),
        ["floor", port] => floor::floor(port),
        // `cargo test --benches` runs this as well: it has nothing to prove.
        _ if arguments.iter().any(|argument| argument == "--bench") => measure(),
        _ => (),
    }
}

fn measure() {
    let port = host::serve();
    let server = Program::server(port);
    let floor = Program::floor(&["floor", &port.to_string()]);
    println!(
        "{:<28}{:>12}{:>12}{:>8}{:>8}",
        "measure", "program", "floor", "ratio", "goal"
    );

    let answers = answers_of(&server);
    let nothing = Program::floor(&["nothing", &answers]);
    line("start to tools/list", start(&server), start(&nothing), 1.5);
    fs::remove_file(answers).expect("it was written");

    let status = |program: &Program| {
        calls(
            program,
            CALLS,
            &call("proxmox_get_node_status", &json!({ "node": "pve1" })),
        )
    };
    let (ours, least) = (status(&server), status(&floor));
    line("node status, time", ours.time, least.time, 1.6);
    line("node status, CPU", ours.cpu, least.cpu, 2.0);

    line("200 calls at once", at_once(&server), at_once(&floor), 1.8);

    let guests = |program: &Program| calls(program, LARGE, &call("proxmox_get_vms", &json!({})));
    let (ours, least) = (guests(&server), guests(&floor));
    line("20,000 guests, time", ours.time, least.time, 2.0);
    memory("20,000 guests, peak memory", ours.peak, least.peak, "2.0");

    let ping = |program: &Program| calls(program, CALLS * 4, &json!({ "method": "ping" }));
    line("ping", ping(&server).time, ping(&floor).time, 1.3);

    let mut idle = Session::open(&server);
    idle.ask(&json!({ "method": "tools/list" }));
    memory("idle memory", idle.resident(), 2_500, "2,500 kB");
}

/// The file that holds what the program answers until it has listed its tools.
fn answers_of(server: &Program) -> String {
    let mut session = Session::start(server);
    let mut text = session.greet();
    text.push_str(&session.ask(&json!({ "method": "tools/list" })));
    let file = env::temp_dir().join(format!("proxmox-mcp-bench-{}", process::id()));
    fs::write(&file, text).expect("the temporary folder can be written");
    file.to_str().expect("its name is text").to_owned()
}

/// The median time from the start of a program until it has listed its tools.
fn start(program: &Program) -> Duration {
    let times = (0..STARTS).map(|_| {
        session::timed(|| {
            let mut session = Session::start(program);
            session.greet();
            session.ask(&json!({ "method": "tools/list" }));
        })
    });
    median(times.collect())
}

/// What one of `count` calls costs, one after the other, once the connection stands.
fn calls(program: &Program, count: u64, message: &Value) -> Cost {
    let mut session = Session::open(program);
    session.ask(message);
    let before = session.cpu();
    let times = (0..count).map(|_| session::timed(|| drop(session.ask(message))));
    let time = median(times.collect());
    Cost {
        time,
        cpu: (session.cpu() - before) / u32::try_from(count).expect("a few calls"),
        peak: session.peak(),
    }
}

/// The time until all of many calls that were sent at once are answered, the best of several.
fn at_once(program: &Program) -> Duration {
    let message = call("proxmox_get_node_status", &json!({ "node": "pve1" }));
    let mut session = Session::open(program);
    session.ask(&message);
    let times = (0..LARGE).map(|_| session::timed(|| session.ask_all(&message, AT_ONCE)));
    times.min().expect("there are several")
}

fn call(tool: &str, arguments: &Value) -> Value {
    json!({ "method": "tools/call", "params": { "name": tool, "arguments": arguments } })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn line(measure: &str, ours: Duration, least: Duration, goal: f64) {
    let ratio = ours.as_secs_f64() / least.as_secs_f64();
    let micros = |time: Duration| format!("{:.1} µs", time.as_secs_f64() * 1e6);
    println!(
        "{measure:<28}{:>12}{:>12}{ratio:>8.2}{goal:>8}",
        micros(ours),
        micros(least)
    );
}

fn memory(measure: &str, ours: u64, least: u64, goal: &str) {
    let ratio = ours as f64 / least as f64;
    println!(
        "{measure:<28}{:>9} kB{:>9} kB{ratio:>8.2}{goal:>10}",
        ours, least
    );
}

/// Files of the checkout.
fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name);
    fs::read(path).expect("it is part of the checkout")
}
