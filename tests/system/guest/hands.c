/* The wires of the emulated station: lays out the simulated GPIO chip, lets the auxiliary contact
 * follow the coil, tells the test when lines change, and carries out its orders.
 *
 * Orders, a line each, on the port "hands": "pull N 0|1", "follow N M" (N is the opposite of M), "hold N"
 * (N follows nobody), "watch N". Told: "level N V NS" with the monotonic time of the guest, and
 * "ready". "hands trip" and "hands trips": below.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINES 58
#define COIL 17
#define FEEDBACK 27
#define CHIP "/sys/kernel/config/gpio-sim/header"
#define LOOK_NS 4000000L

static char folder[200];
static int values[LINES], levels[LINES], source[LINES], watched[LINES];

static void fail(const char *what)
{
	fprintf(stderr, "hands: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long long now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void put(const char *text, const char *form, ...)
{
	char path[512];
	va_list more;
	va_start(more, form);
	vsnprintf(path, sizeof path, form, more);
	va_end(more);
	int file = open(path, O_WRONLY);
	if (file < 0 || write(file, text, strlen(text)) < 0)
		fail(path);
	close(file);
}

static void get(char *into, int size, const char *path)
{
	int file = open(path, O_RDONLY), got;
	if (file < 0 || (got = read(file, into, size - 1)) < 0)
		fail(path);
	close(file);
	into[got] = 0;
	into[strcspn(into, "\n")] = 0;
}

static void pull(int line, int level)
{
	put(level ? "pull-up" : "pull-down", "%s/sim_gpio%d/pull", folder, line);
}

static int level(int line)
{
	char text[4] = "";
	if (pread(values[line], text, 2, 0) < 1)
		fail("value");
	return text[0] == '1';
}

static void find(void)
{
	char device[64], chip[64], path[256];
	get(device, sizeof device, CHIP "/dev_name");
	get(chip, sizeof chip, CHIP "/bank/chip_name");
	snprintf(folder, sizeof folder, "/sys/devices/platform/%s/%s", device, chip);
	for (int line = 0; line < LINES; line++) {
		if (snprintf(path, sizeof path, "%s/sim_gpio%d/value", folder, line) >= (int)sizeof path)
			fail("path");
		if ((values[line] = open(path, O_RDONLY)) < 0)
			fail(path);
		source[line] = -1;
		levels[line] = -1;
	}
}

static void lay_out(void)
{
	char path[256], name[16];
	if (access(CHIP "/live", F_OK) == 0)
		return;
	if (mkdir(CHIP, 0755) || mkdir(CHIP "/bank", 0755))
		fail(CHIP);
	put("58", CHIP "/bank/num_lines");
	put("pinctrl-bcm2711", CHIP "/bank/label");
	for (int line = 0; line < LINES; line++) {
		snprintf(path, sizeof path, CHIP "/bank/line%d", line);
		if (mkdir(path, 0755))
			fail(path);
		snprintf(name, sizeof name, "GPIO%d", line);
		put(name, "%s/name", path);
	}
	put("1", CHIP "/live");
	find();
	pull(FEEDBACK, 1);
}

static void obey(const char *order, int port)
{
	int line, other;
	if (sscanf(order, "pull %d %d", &line, &other) == 2)
		pull(line, other);
	else if (sscanf(order, "follow %d %d", &line, &other) == 2)
		source[line] = other, levels[other] = -1, watched[other] = 1;
	else if (sscanf(order, "hold %d", &line) == 1)
		source[line] = -1;
	else if (sscanf(order, "watch %d", &line) == 1)
		watched[line] = 1, levels[line] = -1;
	else if (strcmp(order, "here?") == 0)
		dprintf(port, "ready\n");
}

static void look(int port)
{
	for (int line = 0; line < LINES; line++) {
		if (!watched[line])
			continue;
		int is = level(line);
		if (is == levels[line])
			continue;
		levels[line] = is;
		for (int other = 0; other < LINES; other++)
			if (source[other] == line)
				pull(other, !is);
		dprintf(port, "level %d %d %lld\n", line, is, now_ns());
	}
}

static void serve(void)
{
	char text[4096];
	int held = 0, port = open("/dev/virtio-ports/hands", O_RDWR | O_NONBLOCK);
	struct timespec pause = {0, LOOK_NS};
	if (port < 0)
		fail("port");
	source[FEEDBACK] = COIL;
	watched[COIL] = 1;
	for (;;) {
		int got = read(port, text + held, sizeof text - 1 - held);
		if (got > 0) {
			char *rest = text, *end;
			held += got;
			text[held] = 0;
			while ((end = strchr(rest, '\n'))) {
				*end = 0;
				obey(rest, port);
				rest = end + 1;
			}
			held -= rest - text;
			memmove(text, rest, held);
		}
		look(port);
		nanosleep(&pause, NULL);
	}
}

/* Opens the contact at `line`; the microseconds until `coil` is off, or -1 after two seconds. */
static long long trip(int line, int coil)
{
	long long began = now_ns(), is;
	struct timespec nap = {0, 50000};
	pull(line, 1);
	while ((is = now_ns()) - began < 2000000000LL) {
		if (!level(coil))
			return (now_ns() - began) / 1000;
		if (is - began > 3000000LL)
			nanosleep(&nap, NULL);
	}
	return -1;
}

/* trips RCD COIL COUNT: a trip each time the coil has been on for a random while, closed again
 * 20 ms later; one line each. Ends when nothing was energised for a minute, too. */
static void trips(int rcd, int coil, int count)
{
	struct timespec breath = {0, 1000000};
	while (count-- > 0) {
		long long waiting_ns = now_ns();
		while (!level(coil)) {
			if (now_ns() - waiting_ns > 60000000000LL) {
				printf("nothing was energised for a minute\n");
				return;
			}
			nanosleep(&breath, NULL);
		}
		usleep(20000 + rand() % 30000);
		printf("%lld\n", trip(rcd, coil));
		fflush(stdout);
		usleep(20000);
		pull(rcd, 0);
	}
}

int main(int count, char **words)
{
	if (count == 5 && strcmp(words[1], "trips") == 0) {
		find();
		trips(atoi(words[2]), atoi(words[3]), atoi(words[4]));
		return 0;
	}
	if (count == 4 && strcmp(words[1], "trip") == 0) {
		find();
		printf("%lld\n", trip(atoi(words[2]), atoi(words[3])));
		return 0;
	}
	lay_out();
	if (count == 2 && strcmp(words[1], "lay-out") == 0)
		return 0;
	find();
	serve();
}
