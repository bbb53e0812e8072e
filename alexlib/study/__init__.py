"""The study: `runs` trains nets and keeps rows, `variants` says what is compared, `measures` and
`verdicts` evaluate the rows by the protocol, `features` looks into trained nets."""
