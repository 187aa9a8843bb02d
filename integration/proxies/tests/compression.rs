//! When compressed keepalives arrive: `cargo test -p proxies --test compression -- --include-ignored`

use std::process::ExitCode;

use futures::future::try_join_all;
use libtest_mimic::{Arguments, Failed, Trial};
use proxies::compression::{COMPRESSORS, Compressor, Content, run};

fn main() -> ExitCode {
    let tests = COMPRESSORS.iter().map(|compressor| {
        let name = format!("keepalives_arrive_as_expected_with_{}", compressor.name);
        let test =
            Trial::test(name, || check(compressor)).with_ignored_flag(compressor.proxy.is_some());
        match compressor.proxy {
            Some(proxy) => test.with_kind(format!("needs {}", proxy.name)),
            None => test,
        }
    });
    libtest_mimic::run(&Arguments::from_args(), tests.collect()).exit_code()
}

#[tokio::main]
async fn check(compressor: &Compressor) -> Result<(), Failed> {
    let runs = Content::ALL
        .into_iter()
        .flat_map(|content| [(content, false), (content, true)]);
    let arrivals = runs.map(async |(content, no_transform)| {
        let arrivals = run(compressor, content, no_transform).await?;
        anyhow::Ok((content, no_transform, arrivals))
    });
    let arrivals = try_join_all(arrivals)
        .await
        .map_err(|error| format!("{error:#}"))?;
    for (content, no_transform, arrivals) in arrivals {
        let what = format!("{content}, no-transform {no_transform}: {arrivals}");
        let compresses = compressor.compresses.contains(&content)
            && !(no_transform && compressor.obeys_no_transform);
        assert_eq!(arrivals.compressed, compresses, "{what}");
        let holds_back = compresses && compressor.holds_back;
        // On a busy machine some keepalives are late, so the last of them may arrive with the end.
        assert_eq!(arrivals.in_time < 4, holds_back, "{what}");
    }
    Ok(())
}
