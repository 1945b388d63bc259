//! A model check of the protocol between writers, relays, broker and consumer: every order of their steps within small bounds, with
//! crashes, freezes and lost messages at every point. `README.md` beside this file explains it. No server takes part.
//!
//! `cargo test -p outbox-relay --test model -- --nocapture` prints how many states were looked at.

mod consumer;
mod mistakes;
mod properties;
mod protocol;
mod relay;
mod state;

use protocol::Protocol;
use state::State;
use stateright::{Checker, Model};

#[test]
fn two_events_of_two_keys_are_applied_once_and_in_order_whatever_two_faults_happen() {
    check("two events of two keys, two faults", Protocol::right(2, 2));
}

#[test]
fn three_events_of_two_keys_are_applied_once_and_in_order_whatever_fault_happens() {
    check("three events of two keys, one fault", Protocol::right(3, 1));
}

#[test]
fn three_events_of_one_key_are_applied_once_and_in_order_whatever_three_faults_happen() {
    check("three events of one key, three faults", Protocol { keys: 1, ..Protocol::right(3, 3) });
}

#[test]
fn order_and_effects_do_not_rest_on_the_epoch_check() {
    check("no epoch check", Protocol { epoch_check: false, ..Protocol::right(2, 1) });
}

/// Looks at every state that can be reached, and fails with the steps to the first one that breaks a property.
fn check(what: &str, protocol: Protocol) {
    let checker = protocol.checker().symmetry_fn(State::representative).spawn_dfs().join();
    checker.assert_properties();
    println!(
        "{what}: {} states, {} ways into them, longest way {} steps",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
}
