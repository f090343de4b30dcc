"""The interactive view of a tumour's growth: what a results folder holds, made into one page that a browser draws."""
