"""What the router sees after the close of a bar: chart, series and text (MM-DREX, section E)."""
