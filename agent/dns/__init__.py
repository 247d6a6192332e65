"""The DNS interface: names under the agent's domain become catalog questions, answers become records.

names     a question's name -> what is asked
records   instances -> resource records, pure
answer    one question from question to response
server    UDP and TCP
"""
