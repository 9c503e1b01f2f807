"""What commands print, take and end with."""
