"""What an image is here."""

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
"""(n, height, width, channels), 0 to 255."""
Shape = tuple[int, int, int]
"""Height, width, channels of one image."""
