/* pages: the minimal web server: answers every request with the text, over persistent connections.
 * One epoll loop, one process; a request has to arrive in one piece, as it does on loopback.
 * usage: pages PORT TEXT */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv) {
    if (argc < 3) { fprintf(stderr, "usage: pages PORT TEXT\n"); return 2; }
    int one = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))}; a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(s, (void *)&a, sizeof a) || listen(s, 4096)) { perror("bind"); return 1; }
    char *r; int size = asprintf(&r, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n\r\n%s",
                                 strlen(argv[2]), argv[2]);
    int ep = epoll_create1(0); struct epoll_event e = {.events = EPOLLIN, .data.fd = s}, ev[256]; epoll_ctl(ep, EPOLL_CTL_ADD, s, &e);
    char b[65536];
    for (;;) {
        int n = epoll_wait(ep, ev, 256, -1);
        for (int i = 0; i < n; i++) {
            int c = ev[i].data.fd;
            if (c == s) {
                while ((c = accept4(s, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    struct epoll_event f = {.events = EPOLLIN, .data.fd = c}; epoll_ctl(ep, EPOLL_CTL_ADD, c, &f);
                }
            } else if (recv(c, b, sizeof b, 0) > 0) send(c, r, size, MSG_NOSIGNAL);
            else close(c);
        }
    }
}
