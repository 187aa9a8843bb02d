use std::{
    future::pending,
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Forwards TCP connections until it freezes. Then the connections stay open, but nothing comes through, as with a
/// proxy that hangs or a network that loses every packet.
#[derive(Debug)]
pub struct Forwarder {
    pub addr: SocketAddr,
    freezes: watch::Sender<()>,
    // The connections are closed when this is dropped.
    _task: JoinSet<io::Result<()>>,
}

impl Forwarder {
    /// Listens on a free port.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let (freezes, frozen) = watch::channel(());
        let mut task = JoinSet::new();
        task.spawn(accept(listener, server, frozen));
        Ok(Self {
            addr,
            freezes,
            _task: task,
        })
    }

    /// Freezes the connections that are open. Later ones are forwarded.
    pub fn freeze(&self) {
        self.freezes.send_replace(());
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    mut frozen: watch::Receiver<()>,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await?;
        // Earlier freezes do not concern this connection.
        frozen.mark_unchanged();
        connections.spawn(forward(client, server, frozen.clone()));
    }
}

async fn forward(
    mut client: TcpStream,
    server: SocketAddr,
    mut frozen: watch::Receiver<()>,
) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::select! {
        // First, because a busy connection uses up the budget of the task.
        biased;
        // Both sides stay open, but are no longer read.
        _ = frozen.changed() => pending().await,
        ended = copy_bidirectional(&mut client, &mut server) => ended.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;
    use crate::within;

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = socket.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        addr
    }

    async fn is_answered(socket: &mut TcpStream) -> bool {
        socket.write_u8(1).await.unwrap();
        // Nothing arrives, not even an end.
        timeout(Duration::from_millis(300), socket.read_u8())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn open_connections_freeze_and_later_ones_work() {
        let forwarder = Forwarder::start(echo().await).await.unwrap();
        let mut first = within(TcpStream::connect(forwarder.addr)).await.unwrap();
        assert!(is_answered(&mut first).await);
        for _ in 0..2 {
            forwarder.freeze();
            assert!(!is_answered(&mut first).await);
            let mut second = within(TcpStream::connect(forwarder.addr)).await.unwrap();
            assert!(is_answered(&mut second).await);
        }
    }
}
