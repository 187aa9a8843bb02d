//! Opens many idle streams, each in a task of its own, and measures their keepalives.

use std::{
    future::ready,
    hint::black_box,
    pin::pin,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use benches::{
    contenders::{Contender, Item, Measurement},
    cpu, runtime,
};
use clap::ValueEnum;
use futures::{FutureExt, Stream, StreamExt};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, sleep_until};

/// Two, so that the figures of small and large machines can be compared.
const WORKERS: usize = 2;

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub streams: usize,
    pub idle: Duration,
    pub open_over: Duration,
    pub periods: u32,
    /// The largest fraction by which an idle time deviates from `idle`. The idle times are evenly distributed.
    pub vary: f64,
    pub consumer: Consumer,
    pub streams_per_task: usize,
}

/// The code that polls a stream. The memory of a task depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Consumer {
    /// A combinator, which holds the stream once.
    Combinator,
    /// An `async fn` that pins the stream. Its future holds the stream twice.
    AsyncFn,
    /// The same, with 40 bytes of local variables. It reads the clock at each item, as a log does.
    AsyncFnWithLocals,
    /// An `async fn` that takes a `Pin<Box<impl Stream>>`.
    Boxed,
    /// An `async` block that owns the stream and pins it.
    AsyncBlock,
}

impl Plan {
    fn idle_of(&self, stream: usize) -> Duration {
        let place = stream as f64 / self.streams as f64; // 0 to 1
        self.idle.mul_f64(1.0 + self.vary * (2.0 * place - 1.0))
    }
}

/// The cost of the keepalives.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Cost {
    pub due: u64,
    pub sent: u64,
    pub cpu_ns_per_keepalive: f64,
    /// The share of one core that all streams take together.
    pub cores: f64,
    pub bytes_per_stream: f64,
}

/// The memory of the streams when each has been idle.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Memory {
    pub bytes_per_stream: f64,
}

/// The cost of dropping all streams together while their timers run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Disconnect {
    pub cpu_ns_per_stream: f64,
}

/// How late the keepalives are, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Lateness {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    pub early: u64,
    /// The number of keepalives in the busiest tenth of a second.
    pub peak: u64,
}

pub fn cost(contender: Contender, plan: Plan) -> Result<Cost> {
    runtime(WORKERS)?.block_on(contender.measure(MeasureCost(plan)))
}

pub fn memory(contender: Contender, plan: Plan) -> Result<Memory> {
    runtime(WORKERS)?.block_on(contender.measure(MeasureMemory(plan)))
}

pub fn disconnect(contender: Contender, plan: Plan) -> Result<Disconnect> {
    runtime(WORKERS)?.block_on(contender.measure(MeasureDisconnect(plan)))
}

pub fn lateness(contender: Contender, plan: Plan) -> Result<Lateness> {
    runtime(WORKERS)?.block_on(contender.measure(MeasureLateness(plan)))
}

struct MeasureCost(Plan);

impl Measurement for MeasureCost {
    type Output = Result<Cost>;

    async fn run<S>(self, idle_stream: impl Fn(Duration) -> S + Send + 'static) -> Result<Cost>
    where
        S: Stream<Item = Item> + Send + 'static,
    {
        let plan = self.0;
        let bytes_per_stream = let_all_go_idle(plan, idle_stream).await?;
        let (sent, cpu, start) = (sent(), cpu::time()?, Instant::now());
        sleep(plan.idle * plan.periods).await;
        let (sent, cpu) = (self::sent() - sent, cpu::time()? - cpu);
        Ok(Cost {
            due: plan.streams as u64 * u64::from(plan.periods),
            sent,
            cpu_ns_per_keepalive: cpu.as_nanos() as f64 / sent as f64,
            cores: cpu.as_secs_f64() / start.elapsed().as_secs_f64(),
            bytes_per_stream,
        })
    }
}

struct MeasureMemory(Plan);

impl Measurement for MeasureMemory {
    type Output = Result<Memory>;

    async fn run<S>(self, idle_stream: impl Fn(Duration) -> S + Send + 'static) -> Result<Memory>
    where
        S: Stream<Item = Item> + Send + 'static,
    {
        let bytes_per_stream = let_all_go_idle(self.0, idle_stream).await?;
        Ok(Memory { bytes_per_stream })
    }
}

struct MeasureDisconnect(Plan);

impl Measurement for MeasureDisconnect {
    type Output = Result<Disconnect>;

    async fn run<S>(
        self,
        idle_stream: impl Fn(Duration) -> S + Send + 'static,
    ) -> Result<Disconnect>
    where
        S: Stream<Item = Item> + Send + 'static,
    {
        let plan = self.0;
        // In a task, because `block_on` runs on a thread that is not a worker.
        let streams = tokio::spawn(async move {
            let mut streams = Vec::with_capacity(plan.streams / plan.streams_per_task);
            let mut schedule = pin!(schedule(plan));
            while let Some(until) = schedule.next().await {
                while streams.len() * plan.streams_per_task < until {
                    let mut stream = Box::pin(idle_stream(plan.idle));
                    if let Some(Some(_)) = stream.next().now_or_never() {
                        bail!("a stream yielded an item before it was idle");
                    }
                    streams.push(stream);
                }
            }
            Ok(streams)
        });
        let streams = streams.await??;
        let dropped = tokio::spawn(async move {
            let before = cpu::time()?;
            drop(streams);
            anyhow::Ok(cpu::time()? - before)
        });
        let cpu = dropped.await??;
        Ok(Disconnect {
            cpu_ns_per_stream: cpu.as_nanos() as f64 / plan.streams as f64,
        })
    }
}

struct MeasureLateness(Plan);

impl Measurement for MeasureLateness {
    type Output = Result<Lateness>;

    async fn run<S>(self, idle_stream: impl Fn(Duration) -> S + Send + 'static) -> Result<Lateness>
    where
        S: Stream<Item = Item> + Send + 'static,
    {
        let plan = self.0;
        for tally in TALLIES.get_or_init(Default::default) {
            *lock(tally) = Some(Tally::new());
        }
        let start = Instant::now();
        open(plan, idle_stream, move |stream, idle| {
            time(stream, idle, start)
        })
        .await?;
        // One more, because the first idle time of each stream is not measured.
        sleep(plan.idle * (plan.periods + 1)).await;

        let mut all = Tally::new();
        for tally in TALLIES.get().into_iter().flatten() {
            if let Some(tally) = lock(tally).take() {
                all.add(&tally);
            }
        }
        let ms = |quantile| all.late_us.value_at_quantile(quantile) as f64 / 1e3;
        Ok(Lateness {
            p50: ms(0.5),
            p99: ms(0.99),
            p999: ms(0.999),
            max: ms(1.0),
            early: all.early,
            peak: all.slices.iter().copied().max().unwrap_or(0),
        })
    }
}

/// Opens all streams, and waits until each has been idle and has allocated its timer. Returns the bytes
/// for each stream.
async fn let_all_go_idle<S>(
    plan: Plan,
    idle_stream: impl Fn(Duration) -> S + Send + 'static,
) -> Result<f64>
where
    S: Stream<Item = Item> + Send + 'static,
{
    let before = resident()?;
    match plan.consumer {
        Consumer::Combinator => {
            open(plan, idle_stream, |stream, _| {
                stream.for_each(|_| {
                    count();
                    ready(())
                })
            })
            .await?;
        }
        Consumer::AsyncFn => open(plan, idle_stream, |stream, _| consume(stream)).await?,
        Consumer::AsyncFnWithLocals => open(plan, idle_stream, consume_with_locals).await?,
        Consumer::Boxed => {
            open(plan, idle_stream, |stream, _| consume(Box::pin(stream))).await?;
        }
        Consumer::AsyncBlock => {
            open(plan, idle_stream, |stream, _| async move {
                let mut stream = pin!(stream);
                while stream.next().await.is_some() {
                    count();
                }
            })
            .await?;
        }
    }
    sleep(plan.idle).await;
    let bytes = resident()?.saturating_sub(before);
    Ok(bytes as f64 / plan.streams as f64)
}

/// Spawns the streams' tasks evenly over `open_over`.
async fn open<S, F, T>(
    plan: Plan,
    idle_stream: impl Fn(Duration) -> S + Send + 'static,
    task: F,
) -> Result<()>
where
    S: Stream<Item = Item> + Send + 'static,
    F: Fn(S, Duration) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    // In a task, because `block_on` runs on a thread that is not a worker.
    let opener = tokio::spawn(async move {
        let mut opened = 0;
        let mut schedule = pin!(schedule(plan));
        while let Some(until) = schedule.next().await {
            for stream in (opened..until).step_by(plan.streams_per_task) {
                let idle = plan.idle_of(stream);
                tokio::spawn(task(idle_stream(idle), idle));
            }
            opened = until;
        }
    });
    opener.await.context("not all streams could be opened")
}

/// Yields the number of streams that should be open, at each millisecond of `open_over`. It is a multiple of
/// the streams per task.
fn schedule(plan: Plan) -> impl Stream<Item = usize> {
    async_stream::stream! {
        let start = tokio::time::Instant::now();
        let total = plan.open_over.as_millis().max(1) as usize;
        for ms in 1..=total {
            let until = plan.streams * ms / total;
            yield until - until % plan.streams_per_task;
            sleep_until(start + Duration::from_millis(ms as u64)).await;
        }
    }
}

#[repr(align(128))]
#[derive(Default)]
struct Counter(AtomicU64);

static SENT: [Counter; WORKERS] = [Counter(AtomicU64::new(0)), Counter(AtomicU64::new(0))];

/// Numbers the workers, so that each has a counter of its own.
fn worker() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static WORKER: usize = NEXT.fetch_add(1, Relaxed) % WORKERS);
    WORKER.with(|worker| *worker)
}

fn sent() -> u64 {
    SENT.iter().map(|counter| counter.0.load(Relaxed)).sum()
}

fn count() {
    SENT[worker()].0.fetch_add(1, Relaxed);
}

async fn consume(stream: impl Stream<Item = Item>) {
    let mut stream = pin!(stream);
    while stream.next().await.is_some() {
        count();
    }
}

async fn consume_with_locals(stream: impl Stream<Item = Item>, idle: Duration) {
    let mut stream = pin!(stream);
    let mut last = Instant::now();
    let mut late = 0_u64;
    while stream.next().await.is_some() {
        let now = Instant::now();
        late += u64::from(now - last > idle * 2);
        last = now;
        count();
    }
    black_box(late);
}

fn time(
    stream: impl Stream<Item = Item>,
    idle: Duration,
    start: Instant,
) -> impl Future<Output = ()> {
    let mut asked = None;
    // The first poll of the stream cannot be observed here.
    stream.for_each(move |_| {
        let now = Instant::now();
        if let Some(tally) = &mut *lock(&TALLIES.get_or_init(Default::default)[worker()]) {
            tally.record(asked.map(|asked| now - asked), idle, now - start);
        }
        asked = Some(Instant::now());
        ready(())
    })
}

static TALLIES: OnceLock<[Mutex<Option<Tally>>; WORKERS]> = OnceLock::new();

fn lock(tally: &Mutex<Option<Tally>>) -> MutexGuard<'_, Option<Tally>> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Tally {
    early: u64,
    late_us: Histogram<u64>,
    slices: Vec<u64>,
}

impl Tally {
    fn new() -> Self {
        Self {
            early: 0,
            late_us: Histogram::new(3).expect("three significant digits are allowed"),
            slices: Vec::new(),
        }
    }

    fn record(&mut self, waited: Option<Duration>, idle: Duration, at: Duration) {
        match waited.map(|waited| waited.checked_sub(idle)) {
            Some(Some(late)) => self.late_us += late.as_micros() as u64,
            Some(None) => self.early += 1,
            None => {}
        }
        let slice = (at.as_millis() / 100) as usize;
        if self.slices.len() <= slice {
            self.slices.resize(slice + 1, 0);
        }
        self.slices[slice] += 1;
    }

    fn add(&mut self, other: &Self) {
        self.early += other.early;
        self.late_us += &other.late_us;
        self.slices
            .resize(self.slices.len().max(other.slices.len()), 0);
        for (slice, more) in self.slices.iter_mut().zip(&other.slices) {
            *slice += more;
        }
    }
}

fn resident() -> Result<usize> {
    let memory = memory_stats::memory_stats().context("cannot read the memory usage")?;
    Ok(memory.physical_mem)
}
