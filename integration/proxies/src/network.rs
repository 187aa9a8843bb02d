//! Networks that belong to a test, and wires between them that delay and lose packets.
//!
//! A network is a network namespace of Linux, which needs root. A wire carries the real packets of Linux's
//! TCP from one network to another. Both are removed when they are dropped.
//!
//! They only work in a runtime with one thread, such as that of `#[tokio::test]`.

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

/// A network namespace. Its programs reach only loopback and the other ends of its wires.
#[derive(Debug)]
pub struct Network(File);

impl Network {
    pub fn new() -> Result<Self> {
        // This thread moves into the new namespace, and ends there.
        let thread = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .context("cannot create a network namespace, which needs root")?;
            let status = Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status()
                .context("cannot start ip")?;
            ensure!(status.success(), "cannot start the loopback interface");
            Ok(Self(current()?))
        });
        thread
            .join()
            .unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    /// Moves this thread into the network until the guard is dropped. Sockets are opened and programs are
    /// started there.
    pub fn enter(&self) -> Result<Entered> {
        let outside = current()?;
        setns(&self.0, CloneFlags::CLONE_NEWNET)?;
        Ok(Entered {
            outside,
            _thread: PhantomData,
        })
    }

    /// Runs a future in this network, so that it opens sockets and starts programs there. Nothing else on this
    /// thread may do so in the meantime.
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
#[must_use = "the thread leaves the network when this is dropped"]
pub struct Entered {
    outside: File,
    /// Not `Send`, because it belongs to the thread that entered.
    _thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        setns(&self.outside, CloneFlags::CLONE_NEWNET)
            .expect("the thread can return to where it came from");
    }
}

/// `server <-> proxy <-> client`, and no other way between them.
#[derive(Debug)]
pub struct Chain {
    pub server: Network,
    pub proxy: Network,
    pub client: Network,
    /// Between the server and the proxy.
    pub near: Wire,
    /// Between the proxy and the client.
    pub far: Wire,
}

impl Chain {
    /// The address of the server, for the proxy.
    pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
    /// The address of the proxy, for the client.
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

/// A wire between two networks.
#[derive(Debug)]
pub struct Wire {
    /// The direction from the first end to the second.
    pub there: Way,
    /// The direction from the second end to the first.
    pub back: Way,
    _carriers: JoinSet<io::Result<()>>,
}

impl Wire {
    /// Connects two networks, each with its address on the wire. Packets are carried while the runtime runs.
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
        // A browser treats an interface called `tun` as a VPN, and believes that it is offline.
        .name("wire%d")
        .address(addr)
        .netmask(Ipv4Addr::new(255, 255, 255, 0))
        .mtu(MTU.into())
        .up()
        .build()
        .context("cannot create the end of a wire")?;
    queues.into_iter().next().context("the wire has no end")
}

async fn carry(from: Arc<Tun>, to: Arc<Tun>, way: Way) -> io::Result<()> {
    let (under_way, arriving) = mpsc::unbounded_channel();
    let (receive, deliver) = (receive(&from, &way, under_way), deliver(&to, arriving));
    tokio::try_join!(receive, deliver).map(|_| ())
}

/// A packet, and the time at which it arrives.
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
    /// Changes the conditions for packets from now on. Packets that are on their way still arrive.
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

/// What happens to packets. By default, all arrive immediately.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions {
    pub delay: Duration,
    /// The share of packets that is lost, from 0 to 1.
    pub loss: f64,
}

impl Conditions {
    /// All packets are lost.
    pub const CUT: Self = Self {
        delay: Duration::ZERO,
        loss: 1.0,
    };
}
