"""The colours of charts: Okabe and Ito (2008), which the colour-blind tell apart, too."""

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY = OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
