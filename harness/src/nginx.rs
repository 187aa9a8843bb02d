//! nginx in front of a server.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::Child,
    time::{Instant, sleep},
};

use crate::process::{self, PATIENCE};

/// What clients speak with it.
#[derive(Clone, Copy)]
pub enum Front {
    Http1,
    Http2,
}

pub struct Nginx {
    pub addr: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Nginx {
    /// Starts nginx with those directives as its only location, and waits until it accepts.
    ///
    /// `connections` bounds what it has open, to clients and to the server together.
    pub async fn start(front: Front, connections: usize, location: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        // The port is free when it is picked, but somebody may be faster.
        for _ in 0..5 {
            let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            let config = config(front, connections, addr, location);
            fs::write(folder.path().join("nginx.conf"), config)?;
            let mut command = process::quiet("nginx");
            command.arg("-p").arg(folder.path());
            command.args(["-e", "error.log", "-c", "nginx.conf"]);
            let mut child = process::start(&mut command)?;
            if accepts(&mut child, addr).await? {
                return Ok(Self {
                    addr,
                    child,
                    _folder: folder,
                });
            }
        }
        let log = fs::read_to_string(folder.path().join("error.log"))?;
        bail!("nginx does not start: {}", log.trim_end());
    }

    /// Stops the process: its connections stay open, and say nothing any more.
    pub fn freeze(&self) -> anyhow::Result<()> {
        process::signal(&self.child, Signal::SIGSTOP)
    }
}

/// False when the process has ended.
async fn accepts(child: &mut Child, addr: SocketAddr) -> anyhow::Result<bool> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        if TcpStream::connect(addr).await.is_ok() {
            return Ok(true);
        }
        sleep(Duration::from_millis(10)).await;
    }
    Err(anyhow::anyhow!("{addr} does not accept")).context("nginx is stuck")
}

/// One plain process, so that killing it leaves nothing behind, and all its files in its folder.
fn config(front: Front, connections: usize, addr: SocketAddr, location: &str) -> String {
    let protocol = match front {
        Front::Http1 => "",
        Front::Http2 => " http2",
    };
    format!(
        "
worker_processes 1;
master_process off;
daemon off;
pid pid;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen {addr}{protocol};
        location / {{ {location} }}
    }}
}}
"
    )
}
