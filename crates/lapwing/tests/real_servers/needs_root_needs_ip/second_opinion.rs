//! What Lapwing finds, against what the tools of the trade find at the same time.
