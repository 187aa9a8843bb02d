//! nginx after a reload: an old worker stays until its streams have ended, unless it has a limit.

// Linux lists the workers in /proc.
#![cfg(target_os = "linux")]

use std::{fs, net::SocketAddr, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use programs::{Server, within};
use proxies::{
    client, example,
    nginx::{self, CONNECTIONS, Front, NGINX},
    proxy::RunningProxy,
};
use tokio::time::sleep;
use tonic::Streaming;
use tonic_events::proto::v1::OperationEvent;

/// nginx as it usually runs, with a master that starts workers.
struct Master(RunningProxy);

impl Master {
    async fn start(server: SocketAddr, more: &'static str) -> Self {
        let location = format!("grpc_pass grpc://{server};");
        let config = nginx::config_of(more, Front::Http2, CONNECTIONS, &location);
        Self(NGINX.start(config).await.unwrap())
    }

    /// Returns the running workers, or none if the master has ended.
    fn workers(&self) -> Vec<u32> {
        let id = self.0.program.id().unwrap_or_default();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().map(str::parse);
        children.map_while(Result::ok).collect()
    }

    /// Reloads, and returns the old worker when there is a new one too.
    async fn reload(&self) -> u32 {
        let old = self.workers();
        assert_eq!(old.len(), 1, "{old:?}");
        self.0.program.send(Signal::SIGHUP).unwrap();
        within(async {
            while self.workers().iter().all(|worker| old.contains(worker)) {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        old[0]
    }

    async fn gone(&self, worker: u32) {
        within(async {
            while self.workers().contains(&worker) {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

impl Drop for Master {
    /// Kills the workers too, because a killed master leaves them behind.
    fn drop(&mut self) {
        let workers = self.workers();
        _ = self.0.program.send(Signal::SIGKILL);
        for worker in workers {
            _ = kill(Pid::from_raw(worker as i32), Signal::SIGKILL);
        }
    }
}

async fn streaming(more: &'static str) -> (Server, Master, Streaming<OperationEvent>) {
    let server = example::server(&["--keepalive", "100ms"]).await.unwrap();
    let master = Master::start(server.addr, more).await;
    let mut events = client::grpc(master.0.addr).await.unwrap();
    within(events.message())
        .await
        .unwrap()
        .expect("no keepalive");
    (server, master, events)
}

#[tokio::test]
#[ignore = "needs nginx: run .ci/install"]
async fn an_old_worker_stays_until_its_last_stream_has_ended() {
    let (_server, master, mut events) = streaming("").await;
    let old = master.reload().await;
    // Two seconds of keepalives.
    for _ in 0..20 {
        within(events.message())
            .await
            .unwrap()
            .expect("no keepalive");
    }
    assert!(master.workers().contains(&old));
    drop(events);
    master.gone(old).await;
}

#[tokio::test]
#[ignore = "needs nginx: run .ci/install"]
async fn a_limit_on_the_shutdown_of_a_worker_cuts_its_streams() {
    let (_server, master, mut events) = streaming("worker_shutdown_timeout 1s;").await;
    let old = master.reload().await;
    within(async { while let Ok(Some(_)) = events.message().await {} }).await;
    master.gone(old).await;
}
