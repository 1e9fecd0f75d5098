"""The waist: a Program is a flat stream of commands; a Timeline says when each of them started and finished."""
