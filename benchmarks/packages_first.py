"""Importing this module lets installed packages be found before the scripts of this folder.

Python looks for a script's imports beside it first, and ``baselines.py`` here has the name of a
package.
"""

import sys
from pathlib import Path

_HERE = str(Path(__file__).resolve().parent)

sys.path.remove(_HERE)
sys.path.append(_HERE)
