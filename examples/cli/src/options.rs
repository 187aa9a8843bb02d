//! Options that several programs have, so that they are called and worded alike.
//!
//! The types have no doc comments: clap would print them in front of a program's own.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use clap::Args;
use humantime::parse_duration;
use tokio::net::TcpListener;

#[derive(Clone, Debug, Args)]
pub struct Listen {
    /// Listen here; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

impl Listen {
    /// Listens, and prints where.
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
    /// Send a keepalive after each idle time of this length; 0s turns them off
    #[arg(id = "keepalive", long = "keepalive", value_name = "DURATION", default_value = "20s", value_parser = parse_duration)]
    pub idle: Duration,
}

#[derive(Clone, Debug, Args)]
pub struct Immediate {
    /// Send the first keepalive at once, unless there is an event
    #[arg(long)]
    pub immediate: bool,
}

#[derive(Clone, Debug, Args)]
pub struct GiveUp {
    /// Give up on the other side after an idle time of this length; 0s never does
    #[arg(id = "give-up", long = "give-up", value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub idle: Duration,
}
