//! The client: it opens the streams and counts their keepalives.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Client, Response};
use tokio::time::{Instant, sleep_until};

use crate::{Args, Http, server::KEEPALIVE};

/// Linux has about 28,000 ports for each source address. Looking for a free one takes long if many are in use, also by
/// connections that were closed within the last minute.
const CONNECTIONS_PER_ADDRESS: u32 = 2_000;

/// How many streams may be about to open.
const OPENING: usize = 200;

static RECEIVED: AtomicU64 = AtomicU64::new(0);

/// The number of keepalives that have arrived.
pub fn received() -> u64 {
    RECEIVED.load(Relaxed) / KEEPALIVE.len() as u64
}

/// Opens the streams evenly over `idle`.
pub async fn open(args: &Args, server: SocketAddr) -> Result<()> {
    let streams = args.streams as usize;
    let connections = args.connections(args.http[0]);
    let clients = match args.http[0] {
        Http::Http1 => connections.div_ceil(CONNECTIONS_PER_ADDRESS),
        // Each client opens one connection.
        Http::Http2 => connections,
    };
    let clients = (0..clients)
        .map(|number| {
            let builder = Client::builder().no_proxy();
            let builder = match args.http[0] {
                Http::Http1 => {
                    let addr = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + number);
                    builder.http1_only().local_address(IpAddr::from(addr))
                }
                Http::Http2 => builder.http2_prior_knowledge(),
            };
            builder.build()
        })
        .collect::<Result<Vec<_>, _>>()?;

    let start = Instant::now();
    let open = |number: usize| {
        // Streams of one connection are opened at different times.
        let client = clients[number % clients.len()].clone();
        async move {
            sleep_until(start + args.idle.mul_f64(number as f64 / streams as f64)).await;
            let response = client.get(format!("http://{server}/")).send().await?;
            tokio::spawn(count(response.error_for_status()?));
            anyhow::Ok(())
        }
    };
    stream::iter(0..streams)
        .map(open)
        .buffer_unordered(OPENING)
        .try_collect::<()>()
        .await
        .context("cannot open all streams")
}

/// Counts the bytes of a stream. It ends this program if the stream ends, because the figures would be wrong.
async fn count(mut response: Response) {
    let error = loop {
        match response.chunk().await {
            Ok(Some(bytes)) => _ = RECEIVED.fetch_add(bytes.len() as u64, Relaxed),
            Ok(None) => break "it was closed".to_owned(),
            Err(error) => break format!("{:#}", anyhow::Error::from(error)),
        }
    };
    eprintln!("a stream has ended: {error}");
    std::process::exit(1);
}
