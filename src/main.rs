//! A Model Context Protocol server for Proxmox VE.

mod answer;
mod check;
mod cli;
mod cluster;
mod error;
mod mcp;
mod param;
mod pve;
#[cfg(test)]
mod readme;
mod request;
mod row;
mod safety;
mod server;
mod settings;
mod text;
mod tool;
mod tools;

use std::env;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use crate::cli::terminal::Terminal;
use crate::cli::{Command, CommandLine, clients, package};
use crate::error::Error;
use crate::mcp::connection::Peer;
use crate::mcp::lines;
use crate::pve::fingerprint;
use crate::safety::Caller;
use crate::safety::consent::{Approval, Returned};
use crate::settings::Settings;
use crate::tool::{Context, End};

fn main() -> ExitCode {
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("warn"));
    let command_line = match cli::parse(lexopt::Parser::from_env()) {
        Ok(command_line) => command_line,
        Err(problem) => {
            // If standard error is closed, the exit status must do.
            let _ = writeln!(
                io::stderr(),
                "{problem}\nproxmox-mcp --help shows the usage"
            );
            return ExitCode::from(2);
        }
    };
    match run(command_line) {
        Ok(code) => code,
        // The reader closed the pipe: the client ended, or `head` had enough.
        Err(err) if err.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(err) => {
            log::error!("standard input or output failed: {err}");
            ExitCode::FAILURE
        }
    }
}

fn terminal() -> Terminal {
    Terminal::new(|name| env::var(name).ok())
}

fn run(command_line: CommandLine) -> io::Result<ExitCode> {
    let context = |peer| context(&command_line, peer);
    if command_line.command.reads_settings()
        && let Some(warning) = settings::ignored(env::vars_os())
    {
        log::warn!("{warning}");
    }
    match &command_line.command {
        Command::Help => print(&cli::help())?,
        Command::Version => print(&cli::version())?,
        Command::Tools | Command::Tool(_) | Command::ToolsJson => {
            let settings = Settings::read_for_demo(&tools::known(), &command_line.flags, |name| {
                env::var_os(name)
            })
            .checked(env::vars_os());
            if let Err(problems) = &settings.connection
                && !problems.is_empty()
            {
                log::error!("{}", settings::on_one_line(problems));
                return Ok(ExitCode::from(2));
            }
            let safety = &settings.safety;
            match &command_line.command {
                Command::Tool(tool) => print(&cli::tool_page(tool, safety))?,
                Command::ToolsJson => print(&cli::tool_definitions(safety))?,
                _ => print(&cli::tool_table(safety))?,
            }
        }
        Command::ToolsMarkdown => print(&cli::tool_markdown())?,
        Command::Call { tool, arguments } => {
            let context = context(Peer::none());
            let can_ask = io::stdin().is_terminal() && io::stderr().is_terminal();
            let mut approval = match can_ask && !command_line.yes {
                true => Approval::WithinCall(None),
                false => Approval::ByFlag {
                    is_given: command_line.yes,
                },
            };
            let end = loop {
                let caller = Caller {
                    name: "command line".to_owned(),
                    follows_tasks: false,
                    approval,
                };
                let question = match tool.call(&context, arguments, caller).finish() {
                    End::Question(question) => question,
                    end => break end,
                };
                approval = Approval::WithinCall(Some(Returned {
                    reply: Some(safety::ask_on_terminal(&question)),
                    state: question.state,
                }));
            };
            if let End::Outcome(outcome) = end {
                if io::stdout().is_terminal() {
                    print(&terminal().show(&outcome.text))?;
                } else {
                    print(&outcome.text)?;
                }
                if outcome.is_error {
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Command::Check { json } => {
            if env::var_os("RUST_LOG").is_none() {
                // The report contains what the warnings say.
                log::set_max_level(log::LevelFilter::Error);
            }
            let settings = Settings::read(&tools::known(), &command_line.flags, |name| {
                env::var_os(name)
            })
            .checked(env::vars_os());
            let environment = check::Environment::new(&command_line.flags);
            let report = check::run(&settings, &environment);
            if *json {
                print(&report.json())?;
            } else {
                print(&report.text(io::stdout().is_terminal() && terminal().has_colors))?;
            }
            return Ok(report.exit_code());
        }
        Command::Fingerprint => {
            let hosts = settings::hosts(&command_line.flags, |name| env::var_os(name));
            let hosts = match hosts {
                Ok(hosts) => hosts,
                Err(problems) => return finish(Err(Error::settings(problems))),
            };
            let (shown, failures) = fingerprint::show(&hosts);
            if let Some(text) = shown {
                print(&text)?;
            }
            for failure in &failures {
                report(failure);
            }
            return Ok(match failures.is_empty() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            });
        }
        Command::Config {
            client,
            purpose,
            with_secret,
        } => {
            let (flags, demo) = (&command_line.flags, command_line.demo);
            let prepared = match clients::prepare(client, *purpose, flags, demo, *with_secret) {
                Ok(prepared) => prepared,
                Err(error) => return finish(Err(error)),
            };
            // The difference is shown before anything is written.
            print(&prepared.text)?;
            for note in &prepared.notes {
                // If standard error is closed, the entry must do.
                let _ = writeln!(io::stderr(), "{note}");
            }
            match prepared.change {
                Ok(None) => (),
                Ok(Some(change)) => return finish(change.write()),
                Err(error) => return finish(Err(error)),
            }
        }
        Command::Clients => print(&clients::list())?,
        Command::Bundle { folder, binaries } => {
            return finish(package::bundle(folder, binaries.as_deref()));
        }
        Command::RegistryEntry(bundles) => return finish(package::registry_entry(bundles)),
        Command::Completions(script) => print(&script())?,
        Command::Man => print(&cli::man())?,
        Command::Serve => {
            let context = context(Peer::new(lines::standard()?, io::stdout()));
            if io::stdin().is_terminal() {
                log::warn!("waiting for an MCP client on standard input; --help shows the usage");
            }
            server::serve(&context)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the result of a command, or reports why there is none.
fn finish(outcome: Result<String, Error>) -> io::Result<ExitCode> {
    match outcome {
        Ok(text) => print(&text).map(|()| ExitCode::SUCCESS),
        Err(error) => {
            report(&error);
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Reports on standard error what failed; if that is closed, the exit status must do.
fn report(error: &Error) {
    let _ = writeln!(io::stderr(), "{error}");
}

/// Returns what calls need, and logs a warning if they will fail.
fn context(command_line: &CommandLine, peer: Peer) -> Context {
    let environment = |name: &str| env::var_os(name);
    if command_line.demo {
        log::warn!("this is a demonstration: a sample cluster answers, nothing is changed");
        let settings = Settings::read_for_demo(&tools::known(), &command_line.flags, environment)
            .checked(env::vars_os());
        if let Err(problems) = &settings.connection
            && !problems.is_empty()
        {
            log::warn!("{}", settings::on_one_line(problems));
        }
        return Context::demo(settings, tools::find, peer);
    }
    let settings =
        Settings::read(&tools::known(), &command_line.flags, environment).checked(env::vars_os());
    // The result of a single call says so itself.
    if let Err(problems) = &settings.connection
        && matches!(command_line.command, Command::Serve)
    {
        log::warn!("no call will succeed: {}", settings::on_one_line(problems));
    }
    Context::new(settings, tools::find, peer)
}

/// Writes a result to standard output, which carries nothing but results.
fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        output.write_all(b"\n")?;
    }
    output.flush()
}
