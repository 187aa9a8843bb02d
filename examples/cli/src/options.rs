//! Options that several programs share, so that their names and help texts are the same everywhere.
//!
//! The types have no doc comments: clap would print them in front of a program's own.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use clap::Args;
use humantime::parse_duration;
use tokio::net::TcpListener;

#[derive(Clone, Debug, Args)]
pub struct Listen {
    /// Listen on this address; port 0 picks a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

impl Listen {
    /// Starts to listen, and prints the address.
    pub async fn bind(&self) -> anyhow::Result<TcpListener> {
        let listener = TcpListener::bind(self.listen)
            .await
            .with_context(|| format!("cannot listen on {}", self.listen))?;
        println!("listening on {}", listener.local_addr()?);
        Ok(listener)
    }
}

#[derive(Clone, Debug, Args)]
pub struct Keepalive {
    /// Send a keepalive whenever a stream has been idle for this long; 0s turns keepalives off
    #[arg(id = "keepalive", long = "keepalive", value_name = "DURATION", default_value = "20s", value_parser = parse_duration)]
    pub idle: Duration,
}

#[derive(Clone, Debug, Args)]
pub struct Immediate {
    /// Send the first keepalive immediately, unless an event is ready
    #[arg(long)]
    pub immediate: bool,
}

#[derive(Clone, Debug, Args)]
pub struct GiveUp {
    /// Give up a connection on which nothing has arrived for this long; 0s never gives up
    #[arg(id = "give-up", long = "give-up", value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub idle: Duration,
}
