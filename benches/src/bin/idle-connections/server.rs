//! The server: an event stream of axum that has nothing to say, kept alive in several ways.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    http::header::CONTENT_TYPE,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
    routing::{MethodRouter, get},
};
use benches::cpu;
use bytes::Bytes;
use clap::ValueEnum;
use futures::{Stream, stream, task::AtomicWaker};
use stream_keepalive::SharedTimers;
use stream_keepalive_http::KeepaliveLayer;
use tokio::{net::TcpListener, runtime::Builder, time::interval};

use crate::{MEMORY, answer};

/// Two, as in idle-streams.
const WORKERS: usize = 2;

/// What all servers send.
pub const KEEPALIVE: Bytes = Bytes::from_static(b":\n\n");

/// What keeps the streams alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Keepalives {
    /// Nothing does.
    None,
    /// Somebody else tells each stream when to send, so that there is neither a timer nor an idle clock.
    BareWrite,
    /// `KeepAlive` of axum.
    Axum,
    /// `KeepaliveLayer`.
    Layer,
    /// `KeepaliveLayer` with `SharedTimers`.
    LayerShared,
}

pub fn run(keepalives: Keepalives, idle: Duration) -> Result<()> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()?;
    let _guard = runtime.enter();
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    println!("listening on {}", listener.local_addr()?);
    let serve = axum::serve(listener, router(keepalives, idle));
    runtime.spawn(serve.into_future());
    answer(|what| match what {
        MEMORY => resident(),
        _ => Ok(cpu::time()?.as_nanos() as u64),
    })
}

fn resident() -> Result<u64> {
    let memory = memory_stats::memory_stats().context("cannot read the memory usage")?;
    Ok(memory.physical_mem as u64)
}

fn router(keepalives: Keepalives, idle: Duration) -> Router {
    let silent = stream::pending::<Result<Event, Infallible>>;
    let events = get(async move || Sse::new(silent()));
    let with_axum =
        get(async move || Sse::new(silent()).keep_alive(KeepAlive::new().interval(idle)));
    let router = Router::new();
    match keepalives {
        Keepalives::None => router.route("/", events),
        Keepalives::BareWrite => router.route("/", told(idle)),
        Keepalives::Axum => router.route("/", with_axum),
        Keepalives::Layer => router.route("/", events).layer(KeepaliveLayer::new(idle)),
        Keepalives::LayerShared => {
            let layer = KeepaliveLayer::new(idle).timers(SharedTimers::new());
            router.route("/", events).layer(layer)
        }
    }
}

/// A stream that sends its keepalive when it is told to.
#[derive(Default)]
struct Told {
    waker: AtomicWaker,
    is_due: AtomicBool,
}

impl Told {
    fn keepalives(self: Arc<Self>) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::poll_fn(move |cx| {
            self.waker.register(cx.waker());
            if self.is_due.swap(false, Relaxed) {
                Poll::Ready(Some(Ok(KEEPALIVE)))
            } else {
                Poll::Pending
            }
        })
    }
}

/// How often the streams are told. `SharedTimers` rests as long.
const STEP: Duration = Duration::from_millis(4);

fn told(idle: Duration) -> MethodRouter {
    let all: Arc<Mutex<Vec<Arc<Told>>>> = Arc::default();
    tokio::spawn(tell(all.clone(), idle));
    get(async move || {
        let told = Arc::<Told>::default();
        all.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(told.clone());
        let headers = [(CONTENT_TYPE, "text/event-stream")];
        (headers, Body::from_stream(told.keepalives()))
    })
}

/// Tells each stream once per `idle`, a few in each step.
async fn tell(all: Arc<Mutex<Vec<Arc<Told>>>>, idle: Duration) {
    let steps = idle.div_duration_f64(STEP) as usize;
    let mut ticks = interval(STEP);
    for step in (0..steps).cycle() {
        ticks.tick().await;
        let all = all.lock().unwrap_or_else(PoisonError::into_inner);
        for told in &all[all.len() * step / steps..all.len() * (step + 1) / steps] {
            told.is_due.store(true, Relaxed);
            told.waker.wake();
        }
    }
}
