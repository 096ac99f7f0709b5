/* What gcc's unwinder (libgcc_eh.a, from gcc 12 on) needs beside musl: glibc's _dl_find_object, made
   of musl's dl_iterate_phdr, and references to the functions that it names only weakly, since a weak
   reference takes nothing out of an archive and a call of it would jump to address 0. */
#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>

/* glibc's struct dl_find_object. */
struct found {
    unsigned long long flags;
    void *start, *end, *map, *frames;
    unsigned long long reserved[7];
};

struct search {
    unsigned long address;
    struct found *found;
};

static int look(struct dl_phdr_info *object, size_t size, void *data) {
    struct search *search = data;
    unsigned long frames = 0, start = 0, end = 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        unsigned long at = object->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_LOAD && search->address >= at && search->address < at + header->p_memsz) {
            start = at;
            end = at + header->p_memsz;
        }
        if (header->p_type == PT_GNU_EH_FRAME)
            frames = at;
    }
    if (!end || !frames)
        return 0;
    search->found->flags = 0;
    search->found->start = (void *)start;
    search->found->end = (void *)end;
    search->found->map = 0;
    search->found->frames = (void *)frames;
    return 1;
}

int _dl_find_object(void *address, struct found *found) {
    struct search search = {(unsigned long)address, found};
    return dl_iterate_phdr(look, &search) ? 0 : -1;
}

void *const musl_unwind_needs[] __attribute__((used)) = {
    (void *)pthread_once,       (void *)pthread_mutex_lock,  (void *)pthread_mutex_unlock,
    (void *)pthread_key_create, (void *)pthread_getspecific, (void *)pthread_setspecific,
};
