"""Where grants outlive the process, and how processes that share them stay out of each other's way.

store      the interface, and the record that is kept    envelope   how a record is encrypted
memory     nothing outlives us                           file       files of one directory, for one host
                                                         disk       what that asks of a disk, in blocking calls
                                                         permissions  who else may change what is kept there
"""
