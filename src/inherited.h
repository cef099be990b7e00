/* SPDX-License-Identifier: MIT */
/*
 * Connections that somebody else has accepted, and whose header is unread: what a server
 * is started with by systemd (Accept=yes), or by an inetd that the library is not in.
 */
#ifndef TP_INHERITED_H
#define TP_INHERITED_H

/*
 * Reads the headers on the descriptors that TRUEPEER_INHERITED names, one after the
 * other, each as long as the rules allow, and keeps the clients on the sockets. Other
 * descriptors than connections, and connections whose header has been read, are left
 * alone. A refused connection is reset and its descriptors stay open, ended: a number
 * that was closed would be the next file's.
 *
 * For the constructor, before the program runs. TRUEPEER_INHERITED is then taken out of
 * the environment: what the program starts in its turn inherits other things. Without it
 * nothing is done. errno is kept.
 */
void tp_inherited_read(void);

#endif
