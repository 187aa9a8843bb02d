//! The cost that each contender adds to an item, and the cost that the layer adds to a frame.

use ::benches::{frames, loads};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn overhead(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be built");
    let _guard = runtime.enter();

    for load in loads::all().into_iter().chain(frames::all()) {
        let mut group = criterion.benchmark_group(load.name);
        group.throughput(Throughput::Elements(loads::REPEATS));
        for (contender, mut round) in load.contenders {
            group.bench_function(contender, |bencher| {
                bencher.iter_custom(|rounds| (0..rounds).map(|_| round()).sum());
            });
        }
    }
}

criterion_group!(benches, overhead);
criterion_main!(benches);
