//! A proxy with an idle timeout. It forwards bytes, and does not know gRPC.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// How a connection ended.
#[derive(Clone, Copy)]
pub enum End {
    /// The proxy closed it because the server was idle for too long.
    Cut,
    /// The client or the server closed it.
    Closed,
}

/// Forwards one connection, and closes it when the server has sent nothing for `idle`.
pub async fn forward(listener: TcpListener, server: SocketAddr, idle: Duration) -> End {
    match try_forward(listener, server, idle).await {
        Ok(end) => end,
        Err(_) => End::Closed,
    }
}

async fn try_forward(listener: TcpListener, server: SocketAddr, idle: Duration) -> io::Result<End> {
    let (mut client, _) = listener.accept().await?;
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();

    let responses = async {
        let mut buffer = [0; 4096];
        while let Ok(count) = timeout(idle, from_server.read(&mut buffer)).await {
            match count? {
                0 => return Ok(End::Closed),
                count => to_client.write_all(&buffer[..count]).await?,
            }
        }
        Ok(End::Cut)
    };
    tokio::select! {
        end = responses => end,
        requests = copy(&mut from_client, &mut to_server) => requests.map(|_| End::Closed),
    }
}
