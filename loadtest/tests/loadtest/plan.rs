//! The plan, for any seed and length.

use std::collections::HashSet;
use std::time::Duration;

use loadtest::chaos::Target;
use loadtest::chaos::plan::{Action, PAST_A_LEASE, Plan, WAVE};
use proptest::prelude::*;

fn kills(plan: &Plan) -> Vec<Target> {
    let kills = plan.faults().filter(|fault| matches!(fault.action, Action::Kill(_)));
    kills.map(|fault| fault.target).collect()
}

proptest! {
    #[test]
    fn a_seed_is_a_plan(seed: u64, minutes in 0.1..10.0) {
        prop_assert_eq!(Plan::new(seed, minutes), Plan::new(seed, minutes));
        prop_assert_ne!(Plan::new(seed, minutes), Plan::new(seed.wrapping_add(1), minutes));
    }

    #[test]
    fn everybody_is_killed_at_least_once_however_short_the_run(seed: u64, minutes in 0.1..10.0) {
        let killed: HashSet<Target> = kills(&Plan::new(seed, minutes)).into_iter().collect();
        for target in Target::ALL {
            prop_assert!(killed.contains(&target), "{} survives", target);
        }
    }

    #[test]
    fn five_minutes_have_fifty_kills_and_everybody_has_several(seed: u64) {
        let kills = kills(&Plan::new(seed, 5.0));
        prop_assert!(kills.len() >= 50, "{} kills", kills.len());
        for target in Target::ALL {
            prop_assert!(kills.iter().filter(|killed| **killed == target).count() >= 3, "{}", target);
        }
    }

    #[test]
    fn a_relay_is_frozen_past_its_lease_in_every_run(seed: u64, minutes in 0.1..10.0) {
        let plan = Plan::new(seed, minutes);
        let past = |action| matches!(action, Action::Freeze(asleep) if asleep >= PAST_A_LEASE);
        prop_assert!(plan.faults().any(|fault| Target::RELAYS.contains(&fault.target) && past(fault.action)));
    }

    /// So the system always gets on: a wave is over, with everybody up, before the next one begins; and somebody is spared by each.
    #[test]
    fn every_fault_ends_within_its_wave_and_hits_a_target_of_its_own(seed: u64, minutes in 0.1..10.0) {
        for wave in Plan::new(seed, minutes).waves {
            let hit: HashSet<Target> = wave.faults.iter().map(|fault| fault.target).collect();
            prop_assert_eq!(hit.len(), wave.faults.len());
            prop_assert!(hit.len() < Target::ALL.len());
            for fault in &wave.faults {
                let lasts = match fault.action {
                    Action::Kill(lasts) | Action::Freeze(lasts) => lasts,
                    Action::Restart => Duration::ZERO,
                };
                prop_assert!(fault.after + lasts < WAVE, "{:?}", fault);
            }
            prop_assert!(wave.faults.is_sorted_by_key(|fault| fault.after));
        }
    }
}
