"""Tables, trees and pickles of images, light enough for whoever reads them."""
