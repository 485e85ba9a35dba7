"""Pictures and pages as text: pure functions of plain data, so that any operation and any face may use them."""
