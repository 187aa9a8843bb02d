//! A proxy as it stands in front of many a stream. It knows bytes and a clock, and nothing of gRPC.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// How a connection ended.
#[derive(Clone, Copy)]
pub enum End {
    /// The server was silent for too long.
    Cut,
    /// One side had enough.
    Closed,
}

/// Forwards one connection. Only bytes from the server count as a sign of life.
pub async fn forward(listener: TcpListener, server: SocketAddr, silence: Duration) -> End {
    match try_forward(listener, server, silence).await {
        Ok(end) => end,
        Err(_) => End::Closed,
    }
}

async fn try_forward(
    listener: TcpListener,
    server: SocketAddr,
    silence: Duration,
) -> io::Result<End> {
    let (mut client, _) = listener.accept().await?;
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();

    let responses = async {
        let mut buffer = [0; 4096];
        while let Ok(count) = timeout(silence, from_server.read(&mut buffer)).await {
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
