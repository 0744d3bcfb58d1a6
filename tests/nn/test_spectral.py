"""What is said where a corpus is too small for the components that a width takes."""

import numpy as np
import pytest
import scipy.sparse as sp

from texthash.errors import TexthashError
from texthash.nn.spectral import laplacian_eigenmaps, principal_components


@pytest.mark.parametrize(
    ("rows", "remedy"),
    [(2, "has 8 or more, or another"), (8, "has 8 or more, or"), (9, "use 8 bits"), (40, "use 32 bits or fewer")],
)
def test_the_remedy_names_a_width_that_codes_can_have(rows, remedy):
    with pytest.raises(TexthashError, match=f"{rows} training documents x 50 features") as error:
        principal_components(np.eye(rows, 50, dtype=np.float32), 64)
    assert remedy in error.value.remedy
    with pytest.raises(TexthashError, match=f"graph of {rows + 1} training documents") as error:
        laplacian_eigenmaps(sp.csr_matrix(np.eye(rows + 1)), 64)
    assert remedy in error.value.remedy
