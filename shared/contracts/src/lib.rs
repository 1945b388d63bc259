//! Events, topics and money: what the processes of orderflow say to each other.
