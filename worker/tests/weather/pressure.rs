//! Leases are short, and the worker cannot finish what it holds: it must keep its leases, so that no healthy message is
//! taken for one that kills workers.

use super::*;

const RAIN: Weather = Weather {
    lost_permille: 200,
    doubled_permille: 50,
    garbled_permille: 20,
    late_permille: 1_000,
    refused_permille: 0,
    delay_min: Duration::from_micros(50),
    delay_max: Duration::from_millis(2),
};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A chain whose second queue is full for so long.
fn check_full_output(seed: u64, lease: Duration, full_for: Duration) {
    let mut chain = Chain::with_lease(seed, 600, 20, lease);
    chain.net.set_weather(RAIN);
    chain.net.pause(chain.drain);
    chain.net.run_until(full_for);
    let before = chain.net.node::<Queue>(chain.first).message_ledger();
    assert!(before.done < 100 && before.leased > 0, "seed {seed}: the output is full: {before:?}");
    chain.net.resume(chain.drain);
    chain.finish();
    chain.check();
}

/// Five failed attempts would make a message dead; what is checked at the end is that only refused ones are.
#[test]
fn a_full_output_costs_no_healthy_message() {
    for seed in 400..410 {
        check_full_output(seed, MS(100), MS(30_000));
        check_full_output(seed, MS(1_000), MS(30_000));
    }
}

/// Each number becomes two, and there is room for those of ten.
#[test]
fn what_a_full_output_has_taken_is_finished_while_the_rest_waits() {
    for seed in 430..440 {
        let mut chain = Chain::with_lease(seed, 600, 20, SECOND);
        chain.net.set_weather(RAIN);
        chain.net.pause(chain.drain);
        let ledgers = |net: &Net| [chain.first, chain.second].map(|id| net.node::<Queue>(id).message_ledger());
        chain.net.run_while(Duration::from_mins(1), |net| ledgers(net)[0].done < 10);
        chain.net.run_until(chain.net.now() + 5 * SECOND);
        let [first, second] = ledgers(&chain.net);
        assert_eq!((first.done, second.accepted), (10, 20), "seed {seed}: {first:?} {second:?}");
        chain.net.resume(chain.drain);
        chain.finish();
        chain.check();
    }
}

/// A function that takes longer than the lease, again and again.
#[test]
fn a_slow_function_costs_no_healthy_message() {
    for seed in 410..420 {
        let mut chain = Chain::with_lease(seed, 300, 1 << 20, MS(100));
        chain.net.set_weather(RAIN);
        chain.net.set_work(MS(150), MS(400));
        chain.finish();
        chain.check();
    }
}

/// Each refusal has its own reason; they do not flood the queue.
#[test]
fn thousands_of_refusals_are_paced_and_none_is_lost() {
    const TOTAL: u64 = 6_000;
    for (seed, weather) in [(420, Weather::calm()), (421, RAIN), (422, WORST)] {
        let mut chain = Chain::new(seed, TOTAL, 1 << 20);
        let mut plan = plan(seed, 0, 5 * SECOND);
        plan.link.datagram_bytes_max = 65_507;
        let refusing: Function = Box::new(|message: &[u8], _: &mut Outputs| {
            Err(Refusal::NotAnInteger { input: String::from_utf8_lossy(message).into_owned() })
        });
        chain.net.restart(chain.worker, Worker::new(plan, refusing, reports()));
        chain.net.set_weather(weather);
        let (first, mut under_way) = (chain.first, 0);
        let goes_on = chain.net.run_while(Duration::from_mins(10), |net| {
            under_way = under_way.max(net.under_way());
            net.node::<Queue>(first).message_ledger().dead < TOTAL
        });
        let ledger = chain.net.node::<Queue>(first).message_ledger();
        assert!(goes_on && ledger.balances() && ledger.accepted == TOTAL, "seed {seed}: {ledger:?}");
        assert!(under_way < 400, "seed {seed}: {under_way} datagrams at once");
        let counts = chain.net.node::<Worker>(chain.worker).counts();
        assert_eq!((counts.errors, counts.received), (TOTAL, TOTAL), "seed {seed}");
    }
}
