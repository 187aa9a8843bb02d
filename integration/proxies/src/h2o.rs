//! H2O.

use crate::{
    client::Protocol,
    proxy::Proxy,
    scenario::{Expected, Scenario, TIMEOUT},
};

pub static H2O: Proxy = Proxy {
    name: "h2o",
    program: "h2o",
    version: &["-v"],
    config: "h2o.conf",
    args: &["-c", "{config}"],
    scenarios: &[Scenario {
        name: "h2o",
        description: "H2O, SSE, `proxy.timeout.io`",
        protocol: Protocol::Sse,
        timeout: TIMEOUT,
        start: |server, timeout| {
            let timeout = timeout.as_millis();
            H2O.with(Box::new(move |addr, _| {
                format!(
                    r#"
num-threads: 1
listen: {{ host: "{}", port: {} }}
proxy.timeout.io: {timeout}
hosts:
  default:
    paths:
      "/": {{ proxy.reverse.url: "http://{server}/" }}
"#,
                    addr.ip(),
                    addr.port()
                )
            }))
        },
        expected: Expected::DATA_COUNTS,
    }],
};
