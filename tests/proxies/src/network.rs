//! Networks of a test's own, and wires between them that delay packets and lose them.
//!
//! A network is a network namespace of Linux, which takes root. A wire carries real packets from one to
//! the other, as Linux's TCP sends them. Nothing is left of either when it is dropped.
//!
//! It works in a runtime of one thread, which `#[tokio::test]` starts.

use std::{
    fs::File,
    io,
    marker::PhantomData,
    net::Ipv4Addr,
    panic,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_tun::Tun;

/// What is in it reaches loopback and the other ends of its wires, and nothing else.
#[derive(Debug)]
pub struct Network(File);

impl Network {
    pub fn new() -> Result<Self> {
        // The thread moves there, and does not come back.
        let thread = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network, which takes root")?;
            let status = Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status()
                .context("cannot start ip")?;
            ensure!(status.success(), "loopback does not start");
            Ok(Self(current()?))
        });
        thread
            .join()
            .unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    /// Until the guard is dropped, this thread opens sockets and starts programs in this network.
    pub fn enter(&self) -> Result<Entered> {
        let outside = current()?;
        setns(&self.0, CloneFlags::CLONE_NEWNET)?;
        Ok(Entered {
            outside,
            _thread: PhantomData,
        })
    }

    /// Opens sockets or starts programs in this network. Nothing else may do so in the meantime.
    pub async fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        let _entered = self.enter()?;
        future.await
    }
}

/// The network of this thread.
fn current() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}

/// A thread's stay in a [`Network`].
#[derive(Debug)]
#[must_use = "it leaves when this is dropped"]
pub struct Entered {
    outside: File,
    /// It is about the thread that entered.
    _thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        setns(&self.outside, CloneFlags::CLONE_NEWNET).expect("it has been there before");
    }
}

/// `server <-> proxy <-> client`, and no other way between them.
#[derive(Debug)]
pub struct Chain {
    pub server: Network,
    pub proxy: Network,
    pub client: Network,
    /// From the server to the proxy.
    pub near: Wire,
    /// From the proxy to the client.
    pub far: Wire,
}

impl Chain {
    /// Where the proxy finds the server.
    pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
    /// Where the client finds the proxy.
    pub const PROXY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 1);

    pub fn new() -> Result<Self> {
        let (server, proxy, client) = (Network::new()?, Network::new()?, Network::new()?);
        let behind = |addr: Ipv4Addr| Ipv4Addr::from_bits(addr.to_bits() + 1);
        let near = [(&server, Self::SERVER), (&proxy, behind(Self::SERVER))];
        let far = [(&proxy, Self::PROXY), (&client, behind(Self::PROXY))];
        let (near, far) = (Wire::new(near)?, Wire::new(far)?);
        Ok(Self {
            server,
            proxy,
            client,
            near,
            far,
        })
    }
}

/// Connects two networks.
#[derive(Debug)]
pub struct Wire {
    /// What becomes of packets of the first end.
    pub there: Way,
    /// What becomes of packets of the second.
    pub back: Way,
    _carriers: JoinSet<io::Result<()>>,
}

impl Wire {
    /// Connects two networks, each with its address on the wire. It carries while the runtime runs.
    pub fn new(ends: [(&Network, Ipv4Addr); 2]) -> Result<Self> {
        let [first, second] = ends.map(|(network, addr)| end(network, addr));
        let (first, second) = (Arc::new(first?), Arc::new(second?));
        let (there, back) = (Way::default(), Way::default());
        let mut carriers = JoinSet::new();
        carriers.spawn(carry(first.clone(), second.clone(), there.clone()));
        carriers.spawn(carry(second, first, back.clone()));
        Ok(Self {
            there,
            back,
            _carriers: carriers,
        })
    }

    pub fn set(&self, conditions: Conditions) {
        self.there.set(conditions);
        self.back.set(conditions);
    }
}

const MTU: u16 = 1500;

fn end(network: &Network, addr: Ipv4Addr) -> Result<Tun> {
    let _inside = network.enter()?;
    let queues = Tun::builder()
        // Browsers take what is called `tun` for a way through another network, and themselves for offline.
        .name("wire%d")
        .address(addr)
        .netmask(Ipv4Addr::new(255, 255, 255, 0))
        .mtu(MTU.into())
        .up()
        .build()
        .context("cannot make an end of a wire")?;
    queues.into_iter().next().context("it has no end")
}

async fn carry(from: Arc<Tun>, to: Arc<Tun>, way: Way) -> io::Result<()> {
    let (under_way, arriving) = mpsc::unbounded_channel();
    let (receive, deliver) = (receive(&from, &way, under_way), deliver(&to, arriving));
    tokio::try_join!(receive, deliver).map(|_| ())
}

/// A packet, and when it arrives.
type UnderWay = (Instant, Vec<u8>);

async fn receive(
    from: &Tun,
    way: &Way,
    under_way: mpsc::UnboundedSender<UnderWay>,
) -> io::Result<()> {
    let mut packet = [0; MTU as usize];
    loop {
        let length = from.recv(&mut packet).await?;
        if let Some(delay) = way.take() {
            let packet = packet[..length].to_vec();
            _ = under_way.send((Instant::now() + delay, packet));
        }
    }
}

async fn deliver(to: &Tun, mut arriving: mpsc::UnboundedReceiver<UnderWay>) -> io::Result<()> {
    while let Some((time, packet)) = arriving.recv().await {
        sleep_until(time).await;
        to.send(&packet).await?;
    }
    Ok(())
}

/// One direction of a [`Wire`].
#[derive(Clone, Debug, Default)]
pub struct Way(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    conditions: Conditions,
    lost: usize,
}

impl Way {
    /// Changes what becomes of packets from now on. Those under way arrive.
    pub fn set(&self, conditions: Conditions) {
        self.with(|state| state.conditions = conditions);
    }

    /// How many packets were lost.
    pub fn lost(&self) -> usize {
        self.with(|state| state.lost)
    }

    /// How long the next packet takes, unless it is lost.
    fn take(&self) -> Option<Duration> {
        self.with(|state| {
            let lost = fastrand::f64() < state.conditions.loss;
            state.lost += usize::from(lost);
            (!lost).then_some(state.conditions.delay)
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What becomes of packets. By default they arrive, and immediately.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions {
    pub delay: Duration,
    /// The share that does not arrive, from 0 to 1.
    pub loss: f64,
}

impl Conditions {
    /// Nothing arrives.
    pub const CUT: Self = Self {
        delay: Duration::ZERO,
        loss: 1.0,
    };
}
