//! Tells a database that is away from a statement that is wrong.

/// Whether trying the same again later can succeed without anybody changing the statement or the data: the connection
/// broke, no connection could be had in time, the server is starting or stopping, or the statement lost against others.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(database) => database.code().is_some_and(|code| is_transient(&code)),
        _ => false,
    }
}

/// Whether the values themselves are what the database cannot hold: a data exception (SQLSTATE class 22), a broken constraint (class 23),
/// or a value that has no form on the wire. Everything else is the server's trouble or a mistake of ours, and the event waits for its mend.
pub fn is_fault_of_the_data(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Encode(_) => true,
        sqlx::Error::Database(database) => {
            database.code().is_some_and(|code| matches!(code.get(..2), Some("22" | "23")))
        }
        _ => false,
    }
}

/// SQLSTATE classes of PostgreSQL's appendix A.
fn is_transient(code: &str) -> bool {
    // Connection exception, insufficient resources, operator intervention (shutdown, statement_timeout), system error.
    matches!(code.get(..2), Some("08" | "53" | "57" | "58"))
        // Serialization failure, deadlock, lock_timeout, idle_in_transaction_session_timeout, read-only (a standby).
        || matches!(code, "40001" | "40P01" | "55P03" | "25P03" | "25006")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_connection_a_full_pool_and_a_lost_deadlock_are_worth_another_try() {
        assert!(is_unavailable(&sqlx::Error::PoolTimedOut));
        assert!(is_unavailable(&sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into())));
        for code in ["57P01", "57014", "40P01", "55P03", "08006", "53300"] {
            assert!(is_transient(code), "{code}");
        }
    }

    #[test]
    fn a_wrong_statement_or_a_broken_constraint_is_not() {
        assert!(!is_unavailable(&sqlx::Error::RowNotFound));
        for code in ["42P01", "23505", "22001", ""] {
            assert!(!is_transient(code), "{code}");
        }
    }
}
