//! nginx in front of a server.

use crate::proxy::Proxy;

/// What clients speak with it.
#[derive(Clone, Copy)]
pub enum Front {
    Http1,
    Http2,
}

/// Starts nginx with those directives as its only location.
///
/// `connections` bounds what it has open, to clients and to the server together.
pub async fn start(front: Front, connections: usize, location: &str) -> anyhow::Result<Proxy> {
    let protocol = match front {
        Front::Http1 => "",
        Front::Http2 => " http2",
    };
    // One plain process, so that killing it leaves nothing behind, and all its files in its folder.
    Proxy::start(
        "nginx",
        |command, folder| {
            command
                .arg("-p")
                .arg(folder)
                .args(["-e", "log", "-c", "config"]);
        },
        |addr, _| {
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
        },
    )
    .await
}
