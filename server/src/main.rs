//! The `hanse` server: flags, configuration, build, run.
//!
//! Start at [`run`]. `flags.rs` reads the command line, `config.rs` makes sense of it, `pki.rs` and
//! `kubeconfig.rs` make what the first start needs, `assemble.rs` puts the rooms together and
//! `serve.rs` opens the door. What operators do beside it (dump, restore, verify) is in `exit.rs`.
//! Everything that a request meets is in `hanse-api`.

mod assemble;
mod audit_log;
mod config;
mod connections;
mod exit;
mod flags;
mod kubeconfig;
mod moving;
mod packing;
mod pki;
mod process;
mod serve;
mod storage;
mod tls;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use hanse_api::metrics::limit_figures;
use hanse_seams::{RealSpawner, Seams, Shutdown, Spawner};
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::connections::Connections;
use crate::flags::{Command, StartFlags};
use crate::pki::Pki;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Threads that drive requests. More of them help little: the work of one request is short, and
/// whatever blocks runs elsewhere.
const WORKERS_MAX: usize = 8;

/// The stack of a thread: what the deepest document that a client may send needs in a debug build
/// (a YAML document), and room. Only what is touched takes memory.
const THREAD_STACK_BYTES: usize = 8 << 20;

/// How much less than the others the threads for long work count to the system. What they hold
/// while they have to wait is short.
const LONG_WORK_NICE: i32 = 5;

/// Turns of a thread between two looks for what has come in meanwhile: as few as pay, because
/// whoever has come in may have to wait behind one who asks for much.
const TURNS_BETWEEN_LOOKS: u32 = 16;

fn main() -> ExitCode {
    let (cli, notes) = match flags::parse(std::env::args()) {
        Ok(parsed) => parsed,
        Err((text, code)) => {
            let mut out: Box<dyn std::io::Write> = if code == 0 {
                Box::new(std::io::stdout())
            } else {
                Box::new(std::io::stderr())
            };
            let _ = out.write_all(text.as_bytes());
            return ExitCode::from(u8::try_from(code).unwrap_or(2));
        }
    };
    let done = match cli.command {
        Command::Start(flags) => {
            log_to_stderr(flags.verbosity);
            notes.iter().for_each(|note| tracing::warn!("{note}"));
            start(*flags)
        }
        other => operate(other),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hanse: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Logs to standard error; `RUST_LOG` overrides the level of `-v`.
fn log_to_stderr(verbosity: u8) {
    let level = match verbosity {
        0 | 1 => "info",
        2 | 3 => "info,hanse=debug,hanse_api=debug",
        4 | 5 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}

/// How many threads drive requests.
fn workers() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(WORKERS_MAX)
}

/// How many threads do long work: at least two, so that the work of two can go on side by side.
pub(crate) fn long_workers() -> usize {
    workers().max(2)
}

/// The commands beside `start`: they do one thing and end.
fn operate(command: Command) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let seams = Seams::real();
        match command {
            Command::Dump(flags) => exit::dump(&flags, &seams).await,
            Command::Restore(flags) => exit::restore(&flags, &seams).await,
            Command::Verify(flags) => exit::verify(&flags, &seams).await,
            Command::Start(_) => Ok(()),
        }
    })
}

fn start(flags: StartFlags) -> Result<()> {
    let config = Config::from_flags(flags)?;
    process::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .thread_stack_size(THREAD_STACK_BYTES)
        .event_interval(TURNS_BETWEEN_LOOKS)
        .global_queue_interval(TURNS_BETWEEN_LOOKS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let long = long_work()?;
    let pool = Arc::new(RealSpawner::on(long.handle().clone()));
    let done = runtime.block_on(run(config, pool));
    long.shutdown_background();
    done
}

/// The threads for long work.
fn long_work() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(long_workers())
        .thread_name("long-work")
        .thread_stack_size(THREAD_STACK_BYTES)
        .on_thread_start(|| {
            if let Err(error) = rustix::process::nice(LONG_WORK_NICE) {
                tracing::debug!(%error, "long work has the priority of all other");
            }
        })
        .enable_all()
        .build()
        .context("cannot start the threads for long work")
}

/// The life of the server.
async fn run(config: Config, pool: Arc<dyn Spawner>) -> Result<()> {
    let seams = Seams::real();
    let began = seams.clock.monotonic();
    let socket = serve::bind(config.listen).await?;
    std::fs::create_dir_all(&config.root)
        .with_context(|| format!("cannot make {}", config.root.display()))?;
    let now = seams.clock.wall().as_secs();
    let pki = Pki::ensure(&config.root, &config.serving_names, now)?;
    let (cert, key) = match &config.own_certificate {
        Some(own) => (&own.cert, &own.key),
        None => (&pki.serving_cert, &pki.serving_key),
    };
    let tls = tls::server_config(cert, key)?;
    let stop = Shutdown::new();
    let server = assemble::assemble(&config, &pki, &seams, &stop).await?;
    let connections = Connections::new(config.connections, &seams);
    let (service, counted) = (server.service, connections.clone());
    service.add_figures(move || {
        let now = counted.figures();
        limit_figures(
            "connections",
            now.open as f64,
            now.most as f64,
            now.gave_way,
        )
    });
    let listener = serve::Listener::new(socket, tls, service, seams.clone(), connections, pool);
    let took = seams.clock.monotonic().saturating_sub(began);
    tracing::info!(
        address = %config.external_address,
        kubeconfig = %config.kubeconfig.display(),
        milliseconds = took.as_millis(),
        "serving"
    );
    let terminated = Shutdown::new();
    seams.spawn("signals", signals(terminated.clone()));
    listener.run(terminated, config.shutdown_delay).await;
    stop.trigger();
    for task in server.tasks {
        task.ended().await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Raises the flag at the first SIGTERM or SIGINT; a second one ends the process at once.
async fn signals(terminated: Shutdown) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("cannot listen for signals");
        return;
    };
    for count in 0.. {
        tokio::select! {
            biased;
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        if count > 0 {
            std::process::exit(130);
        }
        tracing::info!("stopping");
        terminated.trigger();
    }
}
