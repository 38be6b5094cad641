"""A report as one page of HTML, with the script that draws its charts."""
