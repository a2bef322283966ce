"""Importing this module lets the checkout's packages be found before the scripts of this folder.

Python looks for a script's imports beside it first, and ``baselines.py`` here has the name of a
package. At the end of the path it would still be found before an editable installation, whose
finder may be asked last.
"""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent

sys.path.remove(str(_HERE))
sys.path.insert(0, str(_HERE.parent))
sys.path.append(str(_HERE))
